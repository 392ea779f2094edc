//! A transcript as it is the same on every machine: what a model or the quotes of documents say is left out, and figures
//! that change are.

/// Buttons that stand below answers.
const VERDICTS: [&str; 3] = ["[👍]", "[Utile]", "[Helpful]"];
/// How the quotes of an answer begin.
const QUOTES: [&str; 2] = ["    [1] <b>", "    [1] **"];

pub(super) fn steady(transcript: &str) -> String {
    let mut messages: Vec<Vec<&str>> = Vec::new();
    for line in transcript.lines() {
        match messages.last_mut() {
            Some(message) if line.starts_with(' ') || line.is_empty() => message.push(line),
            _ => messages.push(vec![line]),
        }
    }
    let lines: Vec<String> = messages.iter().flat_map(|message| shown(message)).map(|line| figures(&line)).collect();
    lines.join("\n")
}

fn shown(message: &[&str]) -> Vec<String> {
    let holds = |marks: &[&str]| message.iter().any(|line| marks.iter().any(|mark| line.contains(mark)));
    let head = message[0].split_once(": ").map_or(message[0], |(head, _)| head).trim_end_matches(':');
    if holds(&VERDICTS) {
        let below = message.iter().skip_while(|line| !VERDICTS.iter().any(|verdict| line.contains(verdict)));
        let answer = format!("{head}: (an answer and its sources)");
        return std::iter::once(answer).chain(below.map(|line| (*line).to_owned())).collect();
    }
    if holds(&QUOTES) {
        return vec![format!("{head}: (the quotes of the answer)")];
    }
    message.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Codes and figures of the machine become `N`.
fn figures(line: &str) -> String {
    let changing = ["memoria: ", "attivo da: ", "memory: ", "up for: "].iter().any(|name| line.contains(name));
    let mut out = String::new();
    let mut digits = String::new();
    for c in line.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match digits.len() {
            0 => {}
            6 => out.push('N'),
            _ if changing => out.push('N'),
            _ => out.push_str(&digits),
        }
        digits.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}
