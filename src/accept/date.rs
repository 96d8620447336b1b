//! The `Date` of answers, written once a second and thread.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The second it was written for, and the text.
type Written = (u64, String);

thread_local! {
    static DATE: RefCell<Written> = const { RefCell::new((0, String::new())) };
}

/// Writes the date as headers have it.
pub fn put(out: &mut Vec<u8>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now || text.is_empty() {
            (*second, *text) = (now, httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now)));
        }
        out.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_the_moment() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        put(&mut first);
        put(&mut second);
        let read = httpdate::parse_http_date(std::str::from_utf8(&first).unwrap()).unwrap();
        assert!(read.elapsed().unwrap() < Duration::from_secs(3));
        assert_eq!(first.len(), second.len());
    }
}
