#![no_main]

use tollgate_fuzz::{dialect, seed};

libfuzzer_sys::fuzz_target!(init: { seed(|| dialect::reply_seeds("cohere")) }, |data: &[u8]| dialect::reply("cohere", data));
