#![no_main]

use tollgate_fuzz::{dialect, seed};

libfuzzer_sys::fuzz_target!(init: { seed(|| dialect::stream_seeds("bedrock")) }, |data: &[u8]| dialect::stream("bedrock", data));
