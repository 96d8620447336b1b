//! Amazon Bedrock: the Converse API, which has one form for the models of all vendors.

use super::auth::sigv4::{self, Sigv4};
use super::embedding::Embedder;
use super::native::NativeFormat;
use super::{Call, Decoded, Dialect, Driver, Outbound, Provider, StreamPlan};
use crate::config::problems::Problems;
use crate::config::schema::{Field, Record};
use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Kind, Result};
use crate::wire::address::{Address, segment};
use crate::wire::frame::Framing;
use bytes::Bytes;
use serde_json::Value;

mod decode;
mod embed;
mod encode;
mod media;
mod messages;
mod native;
mod stream;
mod tools;
mod view;

/// `provider: bedrock`.
pub struct Bedrock;

/// The name under which requests are signed.
const SERVICE: &str = "bedrock";

const WHOLE: &str = "/converse";
const STREAM: &str = "/converse-stream";

impl Provider for Bedrock {
    fn name(&self) -> &'static str {
        "bedrock"
    }

    fn options(&self) -> Vec<Field> {
        let region = Field::text("aws_region").doc("AWS region; else the environment's `AWS_REGION`.");
        vec![Field::record("bedrock", Record::new(vec![region]))]
    }

    fn operations(&self) -> &'static [Operation] {
        &[Operation::Chat]
    }

    fn check(&self, conf: &TargetConf, out: &mut Problems<'_>) {
        super::auth::refuse_override(conf, out);
    }

    fn load(&self, conf: &TargetConf) -> Result<Driver> {
        load(conf, |name| std::env::var(name).ok())
    }

    fn native(&self) -> Option<&'static dyn NativeFormat> {
        Some(&native::BedrockFormat)
    }

    fn semantic_name(&self) -> &'static str {
        "aws.bedrock"
    }

    fn embeddings(&self) -> Option<&'static dyn Embedder> {
        Some(&embed::BedrockEmbedder)
    }
}

fn load(conf: &TargetConf, environment: impl Fn(&str) -> Option<String>) -> Result<Driver> {
    let region = region(conf, &environment)?;
    let signer = match sigv4::keys(&conf.auth, &environment) {
        Some(keys) => Some(Sigv4::new(keys, region.clone(), SERVICE)),
        // A key of Bedrock's own, which goes into `Authorization` as it is.
        None if conf.auth.header_value.is_some() => None,
        None => return Err(Error::new(Kind::Identity, NO_KEYS)),
    };
    let dialect = ConverseDialect { path: own_path(conf)? };
    let mut driver = Driver::new(format!("https://bedrock-runtime.{region}.amazonaws.com"), "/", dialect);
    if let Some(signer) = signer {
        driver.signer = Some(Box::new(signer));
    }
    Ok(driver)
}

const NO_KEYS: &str = "AWS credentials not specified anywhere: set auth.aws_access_key_id and \
                       auth.aws_secret_access_key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// Its name becomes part of a host's, so nothing else must be in it.
fn region(conf: &TargetConf, environment: &impl Fn(&str) -> Option<String>) -> Result<String> {
    let own = conf.model.options.own.get("bedrock").and_then(|record| record.get("aws_region"));
    let own = own.and_then(Value::as_str).map(str::to_owned);
    let filled = |text: &String| !text.is_empty();
    let fallback = || ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(environment).find(filled);
    let region = own.filter(filled).or_else(fallback);
    let region = region.ok_or_else(|| Error::new(Kind::Identity, "AWS region not specified anywhere"))?;
    if region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(region);
    }
    Err(Error::bad_request("'model.options.bedrock.aws_region' must be the name of an AWS region"))
}

/// The configured path, which for this provider stands beside an `upstream_url` too.
fn own_path(conf: &TargetConf) -> Result<Option<String>> {
    let options = &conf.model.options;
    match (&options.upstream_path, &options.upstream_url) {
        (Some(path), _) => Ok(Some(path.clone())),
        (None, Some(url)) => Ok(Some(Address::parse(url).map_err(Error::bad_request)?.path)),
        (None, None) => Ok(None),
    }
}

struct ConverseDialect {
    /// The path that is configured.
    path: Option<String>,
}

impl ConverseDialect {
    /// Where a call goes.
    ///
    // KONG(llm/drivers/bedrock.lua): Kong does not escape the model, which breaks ARNs, and asks a
    // configured path of `/converse` to stream, which it cannot.
    fn path(&self, call: &Call<'_>) -> String {
        let operation = if call.stream { STREAM } else { WHOLE };
        let Some(path) = &self.path else { return format!("/model/{}{operation}", segment(call.model)) };
        let base = path.strip_suffix(STREAM).or_else(|| path.strip_suffix(WHOLE));
        base.map_or_else(|| path.clone(), |base| format!("{base}{operation}"))
    }
}

impl Dialect for ConverseDialect {
    fn request(&self, call: &Call<'_>) -> Result<Outbound> {
        Ok(Outbound { path: Some(self.path(call)), ..Outbound::json(encode::body(call)?) })
    }

    fn forward(&self, call: &Call<'_>, body: Bytes) -> Result<Outbound> {
        Ok(Outbound { path: Some(self.path(call)), ..Outbound::json(body) })
    }

    fn reply(&self, call: &Call<'_>, body: Bytes) -> Result<Decoded> {
        decode::reply(call, &body)
    }

    fn takes_system(&self, model: &str) -> bool {
        encode::takes_system(model)
    }

    fn stream(&self, _call: &Call<'_>) -> StreamPlan {
        StreamPlan::Translate(Framing::AwsEventStream, Box::new(stream::Decoder::default()))
    }
}

#[cfg(test)]
mod tests;
