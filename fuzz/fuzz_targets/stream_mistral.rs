#![no_main]

use tollgate_fuzz::{dialect, seed};

libfuzzer_sys::fuzz_target!(init: { seed(|| dialect::stream_seeds("mistral")) }, |data: &[u8]| dialect::stream("mistral", data));
