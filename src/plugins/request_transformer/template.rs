//! Values that are made of the request: `$(headers.x)`, `$(headers["x-y"])`, and the same of `query_params` and
//! `uri_captures`.

use crate::target::template::Source;

/// A value, read once.
pub struct Template(Vec<Piece>);

enum Piece {
    Text(String),
    Header(String),
    Query(String),
    Capture(String),
}

impl Template {
    /// Reads a value.
    //
    // KONG(plugins/request-transformer/access.lua): what stands in `$( )` is a program in Lua. Here it is the name of a
    // value, and anything else is refused when the configuration is loaded.
    pub fn read(value: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once("$(") {
            let (inside, behind) =
                after.split_once(')').ok_or_else(|| format!("value '{value}' has a '$(' without its ')'"))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::read(inside.trim()).ok_or_else(|| {
                format!(
                    "value '{value}' is not in supported format: '$({inside})' must name a value of 'headers', \
                     'query_params' or 'uri_captures', as in $(headers.name) or $(headers[\"a-name\"])"
                )
            })?);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The value for a request. What the request does not have is empty, as in Kong.
    pub fn render(&self, source: &Source<'_>) -> String {
        self.0.iter().map(|piece| piece.render(source)).collect()
    }
}

impl Piece {
    fn read(expression: &str) -> Option<Self> {
        let at = expression.find(['.', '['])?;
        let (from, key) = expression.split_at_checked(at)?;
        let quoted = |mark: &str| key.strip_prefix(&format!("[{mark}"))?.strip_suffix(&format!("{mark}]"));
        let key = key.strip_prefix('.').or_else(|| quoted("\"")).or_else(|| quoted("'"))?;
        let key = Some(key).filter(|key| !key.is_empty() && !key.contains(['.', '[', '"', '\'']))?.to_owned();
        match from {
            "headers" => Some(Self::Header(key)),
            "query_params" => Some(Self::Query(key)),
            "uri_captures" => Some(Self::Capture(key)),
            _ => None,
        }
    }

    fn render(&self, source: &Source<'_>) -> String {
        let value = match self {
            Self::Text(text) => Some(text.clone()),
            Self::Header(name) => {
                // Kong's templates write names with underscores, too.
                let found = source.headers.get(name).or_else(|| source.headers.get(name.replace('_', "-")));
                found.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            }
            Self::Query(name) => form_urlencoded::parse(source.query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned()),
            Self::Capture(name) => {
                source.captures.iter().find(|(key, _)| **key == **name).map(|(_, v)| v.clone())
            }
        };
        value.unwrap_or_default()
    }
}
