#![no_main]

use tollgate_fuzz::{dialect, seed};

libfuzzer_sys::fuzz_target!(init: { seed(|| dialect::reply_seeds("llama2")) }, |data: &[u8]| dialect::reply("llama2", data));
