//! The fuzz targets (`fuzz/`) on what they have seen: seeds made of the fixtures, and every saved input.
//! `make fuzz` looks for new ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_lossless,
    reason = "tests"
)]

#[path = "../fuzz/targets/mod.rs"]
#[allow(dead_code, reason = "what only the fuzzer's binaries need")]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use targets::TARGETS;

#[test]
fn every_saved_input_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut failed = Vec::new();
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let saved = fs::read_dir(corpus.join(target.name)).into_iter().flatten().flatten();
        let saved = saved.map(|entry| (entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
        let seeds =
            seeds.into_iter().enumerate().map(|(at, seed)| (format!("{}, seed {at}", target.name), seed));
        for (place, input) in seeds.chain(saved) {
            if catch_unwind(|| (target.run)(&input)).is_err() {
                failed.push(place);
            }
        }
    }
    assert!(failed.is_empty(), "these inputs fail:\n{}", failed.join("\n"));
}

#[test]
fn every_folder_of_saved_inputs_has_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for entry in fs::read_dir(corpus).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(TARGETS.iter().any(|target| target.name == name), "no target is named {name}");
    }
}

#[test]
fn every_target_has_its_binary() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let path = format!("fuzz_targets/{}.rs", target.name);
        let code = fs::read_to_string(fuzz.join(&path)).expect("the binary of a target");
        assert!(manifest.contains(&path), "{path} is not in the manifest");
        assert!(code.contains("fuzz_target!"), "{path}");
    }
    assert_eq!(fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count(), TARGETS.len());
}
