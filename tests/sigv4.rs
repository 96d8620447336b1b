//! Signatures for AWS, against AWS's documentation and against a table that botocore has written
//! (`tests/clients/sigv4_table.py`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use aws_credential_types::Credentials;
use http::{HeaderValue, Method, header};
use serde::Deserialize;
use std::collections::HashSet;
use tollgate::provider::auth::sigv4::Sigv4;
use tollgate::provider::auth::{Signer, Unsigned};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    source: String,
    cases: Vec<Case>,
}

/// A request and its signature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    method: String,
    host: String,
    path: String,
    query: String,
    content_type: Option<String>,
    body: String,
    time: u64,
    region: String,
    service: String,
    key_id: String,
    secret: String,
    token: Option<String>,
    authorization: String,
}

fn signed(case: &Case) -> String {
    let keys = Credentials::new(&case.key_id, &case.secret, case.token.clone(), None, "test");
    let signer = Sigv4::new(keys, case.region.clone(), case.service.clone().leak());
    let mut headers = vec![(header::ACCEPT, HeaderValue::from_static("*/*"))];
    if let Some(kind) = &case.content_type {
        headers.push((header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap()));
    }
    let request = Unsigned {
        method: &Method::from_bytes(case.method.as_bytes()).unwrap(),
        host: &case.host,
        path: &case.path,
        query: &["", &case.query],
        headers: &headers,
        body: case.body.as_bytes(),
        now: case.time,
    };
    let proof = signer.sign(&request).unwrap();
    let token = proof.iter().find(|(name, _)| name == "x-amz-security-token");
    assert_eq!(token.map(|(_, value)| value.to_str().unwrap()), case.token.as_deref());
    let authorization = proof.iter().find(|(name, _)| *name == header::AUTHORIZATION).unwrap();
    authorization.1.to_str().unwrap().to_owned()
}

#[test]
fn signatures_are_those_of_botocore() {
    let table: Table = serde_json::from_str(include_str!("fixtures/sigv4.json")).unwrap();
    assert!(table.source.starts_with("botocore "), "{}", table.source);
    assert!(table.cases.len() >= 50, "only {} cases", table.cases.len());
    for case in &table.cases {
        let at = format!("{} {}{}?{}", case.method, case.host, case.path, case.query);
        assert_eq!(signed(case), case.authorization, "{at}");
    }
    let signatures: HashSet<_> = table.cases.iter().map(|case| &case.authorization).collect();
    assert_eq!(signatures.len(), table.cases.len(), "the table repeats itself");
    for (what, some) in [
        ("session tokens", table.cases.iter().any(|case| case.token.is_some())),
        ("queries", table.cases.iter().any(|case| !case.query.is_empty())),
        ("escaped slashes", table.cases.iter().any(|case| case.path.contains("%2F"))),
        ("empty bodies", table.cases.iter().any(|case| case.body.is_empty())),
        ("ports", table.cases.iter().any(|case| case.host.contains(':'))),
    ] {
        assert!(some, "the table has no {what}");
    }
}

/// The example of <https://docs.aws.amazon.com/general/latest/gr/sigv4-create-canonical-request.html>
/// and `get-vanilla` of AWS's test suite for signatures.
#[test]
fn signatures_are_those_of_the_documentation() {
    let example = |host: &str, query: &str, kind: Option<&str>, service: &str| Case {
        method: "GET".to_owned(),
        host: host.to_owned(),
        path: "/".to_owned(),
        query: query.to_owned(),
        content_type: kind.map(str::to_owned),
        body: String::new(),
        time: 1_440_938_160,
        region: "us-east-1".to_owned(),
        service: service.to_owned(),
        key_id: "AKIDEXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        token: None,
        authorization: String::new(),
    };
    let kind = Some("application/x-www-form-urlencoded; charset=utf-8");
    let users = example("iam.amazonaws.com", "Action=ListUsers&Version=2010-05-08", kind, "iam");
    assert_eq!(
        signed(&users),
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
    let vanilla = example("example.amazonaws.com", "", None, "service");
    assert_eq!(
        signed(&vanilla),
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=host;x-amz-date, \
         Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
}
