//! Images and files that a message carries within itself.

use std::borrow::Cow;

/// A `data:` URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataUrl<'a> {
    /// `image/png`, …; empty if the URL names none.
    pub media_type: Cow<'a, str>,
    /// Base64.
    pub data: Cow<'a, str>,
}

impl<'a> DataUrl<'a> {
    /// Reads `data:<media type>[;parameter…];base64,<data>`; `None` for any other URL.
    pub fn read(url: &Cow<'a, str>) -> Option<Self> {
        let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
        let media_type = head.strip_suffix(";base64")?.split(';').next().unwrap_or_default();
        let start = url.len() - data.len();
        Some(match url {
            Cow::Borrowed(url) => {
                let end = "data:".len() + media_type.len();
                Self {
                    media_type: Cow::Borrowed(url.get("data:".len()..end)?),
                    data: Cow::Borrowed(url.get(start..)?),
                }
            }
            Cow::Owned(_) => {
                Self { media_type: Cow::Owned(media_type.to_owned()), data: Cow::Owned(data.to_owned()) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_base64_is_data() {
        let url = Cow::Borrowed("data:image/png;name=a;base64,AA==");
        let read = DataUrl::read(&url).unwrap();
        assert!(matches!(read.data, Cow::Borrowed("AA==")));
        assert_eq!(read.media_type, "image/png");
        let owned: Cow<'_, str> = Cow::Owned("data:;base64,AA==".to_owned());
        assert_eq!(DataUrl::read(&owned), Some(DataUrl { media_type: "".into(), data: "AA==".into() }));
        for other in ["https://i.test/a.png", "data:text/plain,hi", "data:image/png;base64", ""] {
            assert_eq!(DataUrl::read(&Cow::Borrowed(other)), None, "{other}");
        }
    }
}
