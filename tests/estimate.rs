//! The estimate against the tokenizer that it stands in for, on text that it was not made from.
//!
//! Languages that a gateway mostly sees must come within a tenth, sample by sample; others within a fifth.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy exempts only the test functions themselves"
)]

use std::fs;
use std::path::Path;
use tollgate::meter::estimate::{Tally, tokens};

const CLOSE: [&str; 7] = ["c", "english", "japanese", "javascript", "json", "python", "rust"];
const FAIR: [&str; 8] = ["arabic", "chinese", "french", "german", "korean", "links", "markdown", "russian"];

/// Below this size a sample counts only in the sum of its category.
const LARGE: usize = 900;

fn exact(text: &str) -> u64 {
    tiktoken_rs::cl100k_base_singleton().encode_ordinary(text).len() as u64
}

/// Whether the estimate is off by at most so many hundredths.
fn within(percent: u64, estimate: u64, exact: u64) -> bool {
    estimate.abs_diff(exact) * 100 <= exact * percent
}

/// The samples of a category with their names, sorted.
fn samples(category: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(category);
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

fn judge(category: &str, percent: u64, samples: &[(String, String)]) {
    let mut sums = (0, 0);
    for (name, text) in samples {
        let (estimate, exact) = (tokens(text), exact(text));
        assert!(
            text.len() < LARGE || within(percent, estimate, exact),
            "{category}/{name}: {estimate} estimated, {exact} exact"
        );
        sums = (sums.0 + estimate, sums.1 + exact);
    }
    println!("{category}: {} estimated, {} exact", sums.0, sums.1);
    assert!(
        sums.1 > 0 && within(percent, sums.0, sums.1),
        "{category}: {} estimated, {} exact",
        sums.0,
        sums.1
    );
}

#[test]
fn common_languages_are_within_a_tenth() {
    for category in CLOSE {
        let samples = samples(category);
        assert!(samples.len() > 1, "{category} needs more samples");
        judge(category, 10, &samples);
    }
}

#[test]
fn other_languages_are_within_a_fifth() {
    for category in FAIR {
        judge(category, 20, &samples(category));
    }
}

#[test]
fn text_that_nobody_wrote_is_within_a_fifth() {
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut text = |alphabet: &[u8], length: usize| -> String {
        (0..length).map(|_| char::from(*alphabet.get(random(alphabet.len())).unwrap())).collect()
    };
    let numbers: Vec<String> = (1..300).map(|n| text(b"0123456789", n % 14 + 1)).collect();
    let blank: Vec<String> =
        (0..200).map(|n| format!("{}x{}\n", " ".repeat(n % 90), "\t".repeat(n % 5))).collect();
    for (category, text) in [
        ("base64", text(BASE64, 4000)),
        ("hex", text(b"0123456789abcdef", 4000)),
        ("digits", text(b"0123456789", 3000)),
        ("numbers", numbers.join(" ")),
        ("blank", blank.concat()),
        ("empty lines", "line\n\n\n\nline\r\n\r\n   \n".repeat(60)),
    ] {
        judge(category, 20, &[(String::new(), text)]);
    }
}

#[test]
fn fragments_add_up_to_the_whole() {
    for category in CLOSE.iter().chain(&FAIR) {
        for (name, text) in samples(category) {
            for step in [1, 3, 4, 17, 1000] {
                let mut tally = Tally::default();
                let characters: Vec<char> = text.chars().collect();
                for fragment in characters.chunks(step) {
                    tally.push(&fragment.iter().collect::<String>());
                }
                assert_eq!(tally.total(), tokens(&text), "{category}/{name} in pieces of {step}");
            }
        }
    }
}
