#![no_main]

use tollgate_fuzz::{dialect, seed};

libfuzzer_sys::fuzz_target!(init: { seed(|| dialect::reply_seeds("azure")) }, |data: &[u8]| dialect::reply("azure", data));
