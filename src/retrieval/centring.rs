//! Takes out of the vectors what they have in common. The vectors of e5 all point roughly the same way, and texts of one
//! language more so: a passage that merely shares the question's language comes before the one in the other language
//! that answers it. Subtracting most of the mean, for passages of each language and for questions of each language,
//! leaves what tells them apart (Mu and Viswanath, "All-but-the-Top", ICLR 2018). Measured: `docs/decisions/0005-fusion.md`.

use super::dense::dot;
use crate::domain::Language;

/// Share of the mean that is subtracted; chosen on the questions about the sample handbook and the development set.
pub(super) const SHARE: f32 = 0.9;

/// Everyday questions about nothing in particular; their mean is what all questions of a language have in common.
pub(super) const QUESTIONS: [(Language, &[&str]); 2] = [
    (
        Language::Italian,
        &[
            "come faccio a cambiare la password?",
            "quanti giorni ci vogliono per avere una risposta?",
            "chi devo chiamare se non funziona?",
            "dove trovo il modulo per la richiesta?",
            "qual è il limite massimo?",
            "posso farlo da casa?",
            "ogni quanto va fatto?",
            "quanto costa?",
            "che cosa succede se arrivo in ritardo?",
            "a chi scrivo per un problema?",
            "quando scade?",
            "come si configura?",
            "serve l'approvazione del responsabile?",
            "mi dà errore quando provo ad aprire il file",
            "dove si imposta la lingua?",
            "come disattivo questa opzione",
            "perché non riesco a stampare?",
            "entro quando devo consegnare i documenti?",
            "quali sono i passi da seguire?",
            "è possibile annullare la richiesta?",
            "ciao, domani non ci sono: a chi lo devo dire e come?",
            "mi sono perso il messaggio di ieri, dove si trovano le istruzioni?",
            "sono nuovo, qualcuno mi spiega come funziona questa cosa?",
            "il cliente mi ha chiesto una cosa e non so cosa rispondere",
            "non mi ricordo più se si può fare oppure no",
            "ho sbagliato, posso tornare indietro o devo rifare tutto da capo?",
            "ma se lo faccio io invece del collega cambia qualcosa?",
            "il programma si chiude da solo appena clicco, che faccio??",
        ],
    ),
    (
        Language::English,
        &[
            "how do i change my password?",
            "how many days does it take to get an answer?",
            "who do i call if it does not work?",
            "where is the form for the request?",
            "what is the maximum?",
            "can i do it from home?",
            "how often should it be done?",
            "how much does it cost?",
            "what happens if i am late?",
            "who do i write to about a problem?",
            "when does it expire?",
            "how is it set up?",
            "does my manager have to approve it?",
            "i get an error when i try to open the file",
            "where do i set the language?",
            "how do i turn this option off",
            "why can't i print?",
            "by when do i have to hand in the documents?",
            "which steps do i have to follow?",
            "can the request be cancelled?",
            "hi, i won't be in tomorrow, who needs to know and how do i tell them",
            "missed the message yesterday, where are the instructions",
            "i'm new here, can somebody explain how this thing works?",
            "a customer asked me something and i don't know what to say",
            "can't remember whether that is allowed or not",
            "made a mistake, can i go back or do i have to start all over",
            "does it change anything if i do it instead of my colleague?",
            "the program closes as soon as i click, what now??",
        ],
    ),
];

/// The mean of vectors in each language, `dims` values each; zero where there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct LanguageMeans {
    italian: Vec<f32>,
    english: Vec<f32>,
}

/// Adds up vectors of each language.
pub(super) struct LanguageSums([(Vec<f64>, usize); 2]);

impl LanguageSums {
    pub(super) fn new(dims: usize) -> Self {
        LanguageSums(std::array::from_fn(|_| (vec![0.0; dims], 0)))
    }

    pub(super) fn add(&mut self, language: Language, vector: impl Iterator<Item = f32>) {
        let (sum, count) = &mut self.0[usize::from(language == Language::English)];
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(value));
        *count += 1;
    }

    pub(super) fn means(&self) -> LanguageMeans {
        let mean = |(sum, count): &(Vec<f64>, usize)| {
            sum.iter().map(|value| (value / (*count).max(1) as f64) as f32).collect()
        };
        let [italian, english] = &self.0;
        LanguageMeans { italian: mean(italian), english: mean(english) }
    }
}

impl LanguageMeans {
    /// Both means one after the other, little endian.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.italian.iter().chain(&self.english).flat_map(|value| value.to_le_bytes()).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let (italian, english) = values.split_at(values.len() / 2);
        LanguageMeans { italian: italian.to_vec(), english: english.to_vec() }
    }

    pub(super) fn of_language(&self, language: Language) -> &[f32] {
        match language {
            Language::Italian => &self.italian,
            Language::English => &self.english,
        }
    }

    /// A question's vector without what all questions of its language share, of unit length; `None`: the language
    /// cannot be told, and the mean of both is taken.
    pub(super) fn centred(&self, vector: &[f32], language: Option<Language>) -> Vec<f32> {
        let common = |at: usize| match language {
            Some(language) => self.of_language(language)[at],
            None => (self.italian[at] + self.english[at]) / 2.0,
        };
        let mut centred: Vec<f32> = vector.iter().enumerate().map(|(at, value)| value - SHARE * common(at)).collect();
        let length = dot(&centred, &centred).sqrt().max(f32::EPSILON);
        centred.iter_mut().for_each(|value| *value /= length);
        centred
    }
}

/// What a centred question meets in the passages of one language: the part of every score that is the mean's.
pub(super) fn offset(question: &[f32], mean: &[f32]) -> f32 {
    SHARE * dot(question, mean)
}

/// 1 / length of a passage's vector without what its language shares.
pub(super) fn inverse_length(vector: impl Iterator<Item = f32>, mean: &[f32]) -> f32 {
    let squared: f32 = vector.zip(mean).map(|(value, mean)| (value - SHARE * mean).powi(2)).sum();
    1.0 / squared.sqrt().max(f32::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_vectors_share_no_longer_decides() {
        let italian: [&[f32]; 2] = [&[0.9, 0.435, 0.0], &[0.9, 0.0, 0.435]];
        let mut sums = LanguageSums::new(3);
        italian.iter().for_each(|vector| sums.add(Language::Italian, vector.iter().copied()));
        let means = sums.means();
        assert_eq!(LanguageMeans::from_bytes(&means.to_bytes()), means);
        let question = means.centred(&[0.95, 0.31, 0.0], Some(Language::Italian));
        let score = |vector: &[f32]| {
            let mean = means.of_language(Language::Italian);
            (dot(&question, vector) - offset(&question, mean)) * inverse_length(vector.iter().copied(), mean)
        };
        let plain = dot(&[0.95, 0.31, 0.0], italian[0]) - dot(&[0.95, 0.31, 0.0], italian[1]);
        assert!(score(italian[0]) - score(italian[1]) > 2.0 * plain);
    }

    #[test]
    fn a_language_without_passages_has_a_mean_of_zero() {
        let mut sums = LanguageSums::new(2);
        sums.add(Language::English, [1.0f32, 0.0].into_iter());
        let means = sums.means();
        assert_eq!(means.of_language(Language::Italian), [0.0, 0.0]);
        assert!((inverse_length([0.6, 0.8].into_iter(), means.of_language(Language::Italian)) - 1.0).abs() < 1e-6);
    }
}
