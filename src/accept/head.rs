//! Bounds on the head of a request that has been read: how many headers, and how long a target.

use crate::error::{Error, Kind, Result};
use http::{HeaderMap, Uri};

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most headers.
    pub headers: usize,
    /// Most bytes of the target.
    pub uri: usize,
}

impl Bounds {
    /// Refuses what is beyond them.
    pub fn check(self, uri: &Uri, headers: &HeaderMap) -> Result<()> {
        let (most, count) = (self.headers, headers.len());
        if count > most {
            let why =
                format!("Request header or cookie too large: {count} headers, at most {most} (max_headers)");
            return Err(Error::new(Kind::LargeHead, why));
        }
        let longest = self.uri;
        if uri.path_and_query().map_or(0, |target| target.as_str().len()) > longest {
            let why = format!("URI too long: over {longest} bytes (max_uri_bytes)");
            return Err(Error::new(Kind::LongUri, why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_is_at_the_bounds_passes() {
        let bounds = Bounds { headers: 2, uri: 6 };
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append("x", HeaderValue::from_static("y"));
        }
        let check = |uri: &str, headers: &HeaderMap| {
            bounds.check(&uri.parse().unwrap(), headers).map_err(|error| error.status())
        };
        assert_eq!((check("/a?b=c", &headers), check("/a?b=cd", &headers)), (Ok(()), Err(414)));
        headers.append("x", HeaderValue::from_static("y"));
        assert_eq!(check("/", &headers), Err(494));
    }
}
