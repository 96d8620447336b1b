use super::*;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::json;

const KEY: &str = include_str!("../../../../tests/fixtures/gemini/service-account/key.pem");
const PUBLIC: &[u8] = include_bytes!("../../../../tests/fixtures/gemini/service-account/public.der");

fn key_file() -> String {
    json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": KEY,
        "client_email": "svc@p.iam.gserviceaccount.com", "token_uri": "https://token.test/token"
    })
    .to_string()
}

fn conf(own: &Value) -> AuthConf {
    serde_json::from_value(own.clone()).unwrap()
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn the_token_request_verifies_against_the_accounts_public_key() {
    let account = ServiceAccount::read(&key_file()).unwrap();
    let ask = account.ask(1_700_000_000).unwrap();
    assert_eq!((ask.method, ask.url.as_str()), (Method::POST, "https://token.test/token"));
    assert_eq!(
        ask.headers,
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))]
    );
    let form: Vec<_> = form_urlencoded::parse(&ask.body).into_owned().collect();
    assert_eq!(form[0], ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()));
    assert_eq!((form.len(), form[1].0.as_str()), (2, "assertion"));
    let (signed, signature) = form[1].1.rsplit_once('.').unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    assert_eq!(decoded(head), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    assert_eq!(
        decoded(claims),
        json!({
            "iss": "svc@p.iam.gserviceaccount.com", "aud": "https://token.test/token",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "iat": 1_700_000_000, "exp": 1_700_003_600
        })
    );
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, PUBLIC);
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    public.verify(signed.as_bytes(), &signature).unwrap();
    public.verify(b"something else", &signature).unwrap_err();
}

#[test]
fn answers_are_grants_or_say_why_not() {
    let account = ServiceAccount::read(&key_file()).unwrap();
    let grant =
        account.read(200, br#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#).unwrap();
    assert_eq!((grant.token.as_str(), grant.lifetime), ("ya29.x", Duration::from_secs(3599)));
    for (status, body, message) in [
        (200, "{}", "the token endpoint's answer holds no 'access_token' with 'expires_in'"),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"Invalid JWT\nSignature."}"#,
            "the token endpoint answered 400 invalid_grant: Invalid JWTSignature.",
        ),
        (503, "<html>", "the token endpoint answered 503"),
    ] {
        assert_eq!(account.read(status, body.as_bytes()).err().unwrap(), message);
    }
}

#[test]
fn a_bad_key_file_is_told_apart_and_not_repeated() {
    for (json, message) in [
        ("s3cret".to_owned(), "the service account is not a key file with 'client_email' and 'private_key'"),
        (
            json!({"client_email": "s3cret", "private_key": "s3cret"}).to_string(),
            "the service account's 'private_key' is not a private key in PEM",
        ),
    ] {
        assert_eq!(ServiceAccount::read(&json).err().unwrap(), message);
    }
}

#[test]
fn the_identity_is_the_configured_one_or_the_environments_or_the_machines() {
    let none = |_: &str| None;
    assert!(token(&conf(&json!({"gcp_use_service_account": false})), none).is_none());
    assert!(token(&conf(&json!({"gcp_service_account_json": key_file()})), none).is_none(), "not asked for");
    let url = |own: Value, env: fn(&str) -> Option<String>| {
        let token = token(&conf(&own), env).unwrap();
        token.issuer().ask(0).map(|ask| ask.url)
    };
    let env = |name: &str| (name == "GCP_SERVICE_ACCOUNT").then(key_file);
    let configured = json!({"gcp_use_service_account": true, "gcp_service_account_json": key_file()});
    assert_eq!(url(configured, none).unwrap(), "https://token.test/token");
    assert_eq!(url(json!({"gcp_use_service_account": true}), env).unwrap(), "https://token.test/token");
    let machine =
        url(json!({"gcp_use_service_account": true, "gcp_service_account_json": null}), none).unwrap();
    assert_eq!(
        machine,
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
    );
    let broken = json!({"gcp_use_service_account": true, "gcp_service_account_json": "{}"});
    assert!(url(broken, none).unwrap_err().contains("not a key file"));
}
