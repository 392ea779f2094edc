//! How documents and quotes come out in the browser, table by table: source in, markup or marked texts out.

use serde_json::json;

use crate::scripted::{Scripted, Served};
use crate::webdriver::{Browser, browse};

/// Renders `source` as the document at `path` is rendered and returns the markup that came out.
async fn rendered(browser: &Browser, path: &str, source: &str) -> String {
    let call = format!(
        "import('/assets/markdown-blocks.js').then(({{ renderDocumentText }}) => {{
            const root = document.createElement('div');
            root.append(renderDocumentText({}, {}));
            return root.innerHTML;
        }})",
        json!(path),
        json!(source)
    );
    browser.value(&call).await.as_str().expect("markup").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_rendered_without_trusting_them() {
    browse("documents_are_rendered_without_trusting_them", async |browser| {
        let served = Served::start(Scripted::new([])).await;
        browser.open(&served.url()).await;
        for (source, expected) in MARKDOWN {
            assert_eq!(rendered(browser, "a.md", source).await, *expected, "{source:?}");
        }
        for (source, expected) in PLAIN_TEXT {
            assert_eq!(rendered(browser, "a.html", source).await, *expected, "{source:?}");
        }
        served.shut_down().await;
    })
    .await;
}

const MARKDOWN: &[(&str, &str)] = &[
    ("Un **forte** e un *debole*", "<p>Un <strong>forte</strong> e un <em>debole</em></p>"),
    ("***tutti e due***, ~~no~~", "<p><em><strong>tutti e due</strong></em>, <s>no</s></p>"),
    ("snake_case_name e 2*3*4 * 5", "<p>snake_case_name e 2<em>3</em>4 * 5</p>"),
    ("`a ** b` e ``c ` d``", "<p><code>a ** b</code> e <code>c ` d</code></p>"),
    (r"\*non\* \[1\]", "<p>*non* [1]</p>"),
    (
        "[testo](https://example.org/a_b_c)",
        r#"<p><span class="link-text" title="https://example.org/a_b_c">testo</span></p>"#,
    ),
    ("![logo](logo.png) <https://a.example>", "<p>logo https://a.example</p>"),
    ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
    ("[x](javascript:alert(1))", r#"<p><span class="link-text" title="javascript:alert(1)">x</span></p>"#),
    ("R&amp;D &lt;b&gt; &copia;", "<p>R&amp;D &lt;b&gt; &amp;copia;</p>"),
    ("# Uno #\n\nDue\n---\n####### Sette", "<h2>Uno</h2><h3>Due</h3><p>####### Sette</p>"),
    ("riga\ncontinua  \na capo", "<p>riga\ncontinua<br>a capo</p>"),
    ("- a\n- b\n  - c\n- [x] d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>☑ d</li></ul>"),
    ("3. tre\n4. quattro\n\nfine", r#"<ol start="3"><li>tre</li><li>quattro</li></ol><p>fine</p>"#),
    ("1. uno\n\n   ancora\n2. due", "<ol><li><p>uno</p><p>ancora</p></li><li><p>due</p></li></ol>"),
    ("nel\n2024. Fine", "<p>nel\n2024. Fine</p>"),
    ("> citato\n> > due", "<blockquote><p>citato</p><blockquote><p>due</p></blockquote></blockquote>"),
    ("```sh\nls  *.md\n<b>\n```", "<pre tabindex=\"0\" data-code=\"sh\"><code>ls  *.md\n&lt;b&gt;</code></pre>"),
    (
        "- passo:\n  ```\n  a\n    b\n  ```\n- fine",
        "<ul><li>passo:<pre tabindex=\"0\"><code>a\n  b</code></pre></li><li>fine</li></ul>",
    ),
    (
        "| A | B |\n|---|--:|\n| `x\\|y` | 2 |\n| solo |",
        "<div class=\"table-scroll\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">A</th>\
         <th class=\"align-end\" scope=\"col\">B</th></tr></thead><tbody><tr><td><code>x|y</code></td>\
         <td class=\"align-end\">2</td></tr><tr><td>solo</td><td class=\"align-end\"></td></tr></tbody></table></div>",
    ),
    (
        "Dai documenti:\n\n> | Ferie | 26 |\n> | ROL | 32 | [1]",
        "<p>Dai documenti:</p><blockquote><div class=\"table-scroll\" tabindex=\"0\"><table><tbody><tr><td>Ferie</td>\
         <td>26</td></tr><tr><td>ROL</td><td>32 [1]</td></tr></tbody></table></div></blockquote>",
    ),
    ("testo\n<!-- nota\nnascosta -->\n\naltro", "<p>testo\n&lt;!-- nota\nnascosta --&gt;</p><p>altro</p>"),
    ("***\n---", "<hr><hr>"),
    ("**aperto e [rotto", "<p>**aperto e [rotto</p>"),
];

const PLAIN_TEXT: &[(&str, &str)] = &[
    ("Uno\ndue\n\n*tre*", "<p class=\"plain\">Uno\ndue</p><p class=\"plain\">*tre*</p>"),
    (
        "Prezzi:\nA\t1\nB\t<b>\nfine",
        "<p class=\"plain\">Prezzi:</p><div class=\"table-scroll\" tabindex=\"0\"><table><tbody>\
         <tr><td>A</td><td>1</td></tr><tr><td>B</td><td>&lt;b&gt;</td></tr></tbody></table></div>\
         <p class=\"plain\">fine</p>",
    ),
];

/// Marks `quote` in the document `source` and returns the marked texts.
async fn highlighted(browser: &Browser, (path, source, quote): (&str, &str, &str)) -> Vec<String> {
    let call = format!(
        "Promise.all([import('/assets/markdown-blocks.js'), import('/assets/quote-highlight.js')])
            .then(([{{ renderDocumentText }}, {{ highlightQuote }}]) => {{
                const render = (text) => renderDocumentText({path}, text);
                const root = document.createElement('div');
                root.append(render({source}));
                const before = root.textContent;
                const marks = highlightQuote(root, {quote}, render).map((mark) => mark.textContent);
                return before === root.textContent ? marks : ['the text was changed'];
            }})",
        path = json!(path),
        source = json!(source),
        quote = json!(quote),
    );
    serde_json::from_value(browser.value(&call).await).expect("a list of texts")
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_are_found_through_the_markup() {
    browse("quotes_are_found_through_the_markup", async |browser| {
        let served = Served::start(Scripted::new([])).await;
        browser.open(&served.url()).await;
        for (path, source, quote, expected) in QUOTES {
            assert_eq!(highlighted(browser, (path, source, quote)).await, *expected, "{quote:?} in {source:?}");
        }
        served.shut_down().await;
    })
    .await;
}

/// Path, source of the passage, quote, marked texts.
const QUOTES: &[(&str, &str, &str, &[&str])] = &[
    ("a.md", "Ha **26 giorni** l'anno. Altro.", "Ha **26 giorni** l'anno.", &["Ha ", "26 giorni", " l'anno."]),
    ("a.md", "Prima. Ha [26 giorni](ferie.md) l'anno.", "26 giorni l'anno", &["26 giorni", " l'anno."]),
    ("a.md", "riga uno\nriga due", "riga uno riga due", &["riga uno\nriga due"]),
    ("a.md", "- prima voce\n- seconda voce\n- terza", "- prima voce\n- seconda voce", &["prima voce", "seconda voce"]),
    (
        "a.md",
        "1. Apri il portale\n2. Scegli le date\n3. Invia",
        "2. Scegli le date\n3. Invia",
        &["Scegli le date", "Invia"],
    ),
    (
        "a.md",
        "| A | B |\n|---|---|\n| fino a 2 | tre giorni |",
        "| fino a 2 | tre giorni |",
        &["fino a 2", "tre giorni"],
    ),
    ("a.md", "Perché è così. Città e «virgolette».", "perché è così", &["Perché è così."]),
    (
        "a.md",
        "Frase prima di tutto. In mezzo. Frase dopo tutto il resto.",
        "Frase prima di tutto. […] Frase dopo tutto il resto.",
        &["Frase prima di tutto.", "Frase dopo tutto il resto."],
    ),
    ("a.html", "Voce\tImporto\nPranzo\t18 euro", "Pranzo\t18 euro", &["Pranzo", "18 euro"]),
    ("a.txt", "niente di simile", "tutt'altra cosa qui", &[]),
];
