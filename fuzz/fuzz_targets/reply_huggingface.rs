#![no_main]

use tollgate_fuzz::{dialect, seed};

libfuzzer_sys::fuzz_target!(init: { seed(|| dialect::reply_seeds("huggingface")) }, |data: &[u8]| dialect::reply("huggingface", data));
