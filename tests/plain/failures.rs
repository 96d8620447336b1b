//! What a client sees when its service cannot be reached, or is none.

use super::support::network::tls;
use super::*;

#[tokio::test]
async fn failures_have_kongs_pages() {
    let gateway = failing().await;
    let invalid = "An invalid response was received from the upstream server";
    for (path, status, text) in [
        ("/silent", 504, "The upstream server is timing out"),
        ("/closing", 502, invalid),
        ("/garbage", 502, invalid),
        ("/refused", 502, invalid),
        ("/unknown", 503, "name resolution failed"),
        ("/none", 404, "no Route matched with those values"),
        ("/null", 503, "no Service found with those values"),
    ] {
        for method in ["GET", "POST"] {
            let mut client = Connection::open(gateway.proxy).await;
            let body = if method == "POST" { "{\"a\": 1}" } else { "" };
            let answer = client.request(&format!("{method} {path} HTTP/1.1"), body).await.answer().await;
            assert_eq!((answer.status, answer.whole), (status, true), "{method} {path}: {}", answer.text());
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{path}");
            assert_eq!(answer.header("server"), Some("kong/3.10.0"), "{path}");
            assert!(
                answer.header("x-kong-response-latency").is_some_and(|value| value.parse::<u64>().is_ok()),
                "{path}"
            );
            let id = answer.header("x-kong-request-id").unwrap();
            assert_eq!(
                answer.text(),
                format!("{{\n  \"message\":\"{text}\",\n  \"request_id\":\"{id}\"\n}}"),
                "{path}"
            );
        }
    }
    for (accept, kind, part) in [
        ("text/html", "text/html; charset=utf-8", "<p>no Route matched with those values</p>"),
        ("text/plain", "text/plain; charset=utf-8", "no Route matched with those values\n"),
        (
            "application/xml",
            "application/xml; charset=utf-8",
            "<message>no Route matched with those values</message>",
        ),
        ("text/html;q=0.5, application/json", "application/json; charset=utf-8", "\"message\":"),
    ] {
        let answer = get(&gateway, &format!("/none HTTP/1.1\r\nhost: x\r\naccept: {accept}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, Some(kind)));
        assert!(answer.text().contains(part), "{accept}: {}", answer.text());
        assert!(answer.text().contains(answer.header("x-kong-request-id").unwrap()), "{accept}");
    }
    gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
}

#[tokio::test]
async fn a_connection_survives_the_gateways_own_answers() {
    let gateway = failing().await;
    let mut client = Connection::open(gateway.proxy).await;
    for (method, path, status) in
        [("GET", "/none", 404), ("HEAD", "/none", 404), ("GET", "/null", 503), ("POST", "/none", 404)]
    {
        let body = if method == "POST" { "a body that nobody reads" } else { "" };
        client.request(&format!("{method} {path} HTTP/1.1"), body).await;
        let answer = if method == "HEAD" { client.head_answer().await } else { client.answer().await };
        assert_eq!((answer.status, answer.whole), (status, true), "{method} {path}");
    }
}

#[tokio::test]
async fn without_authorities_only_tls_is_out_of_reach() {
    let upstream = Upstream::always(text()).await;
    let secure = tls(upstream.address).await;
    let services = [
        service("plain", &upstream.url(), &[json!({"name": "plain", "paths": ["/plain"]})]),
        json!({"name": "secure", "url": format!("https://{secure}"), "tls_verify": true,
            "routes": [{"name": "secure", "paths": ["/secure"]}]}),
    ];
    // Where there is nothing, another place is looked for; these are there, and hold nothing.
    let nobody = [("SSL_CERT_FILE", "/"), ("SSL_CERT_DIR", "/")];
    let gateway = Gateway::start_in(&kong(&services), &nobody).await;
    assert_eq!(get(&gateway, "/plain HTTP/1.1\r\nhost: x").await.status, 200);
    assert_eq!(get(&gateway, "/secure HTTP/1.1\r\nhost: x").await.status, 502);
    let said = gateway.stderr();
    assert!(said.contains("SSL_CERT_FILE=\"/\"") && said.contains("name a readable file"), "{said}");
}
