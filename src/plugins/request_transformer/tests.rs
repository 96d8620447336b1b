use super::*;
use http::HeaderMap;
use serde_json::Value;

fn lists(part: &str, place: &str, entries: &[&str]) -> Value {
    json!({part: {place: entries}})
}

/// A plugin of that `config`, as the configuration would have filled it.
fn settings(given: &[Value]) -> Settings {
    let empty = json!({"body": [], "headers": [], "querystring": []});
    let mut config =
        json!({"remove": empty, "rename": empty, "replace": empty, "add": empty, "append": empty});
    for part in given {
        for (name, lists) in part.as_object().unwrap() {
            for (place, entries) in lists.as_object().unwrap() {
                config[name][place] = entries.clone();
            }
        }
    }
    serde_json::from_value(config).unwrap()
}

fn edited(place: &mut impl Place, given: &[Value], of: fn(&Lists) -> &[String]) {
    let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, "de".parse().unwrap())]);
    let source = Source { headers: &headers, captures: &[], query: "who=ann%20b" };
    Edits::new(&settings(given), of).unwrap().apply(place, &source).unwrap();
}

#[test]
fn edits_run_in_kongs_order() {
    let mut query = Pairs::read("a=1&b=x%20y&b=2&keep=%2F&c");
    let parts = [
        lists("remove", "querystring", &["a", "absent"]),
        lists("rename", "querystring", &["b:d", "gone:e"]),
        lists("replace", "querystring", &["c:3", "a:4"]),
        lists("add", "querystring", &["a:5", "d:6"]),
        lists("append", "querystring", &["d:7 8"]),
    ];
    edited(&mut query, &parts, |lists| &lists.querystring);
    assert_eq!(query.write(), "d=x%20y&d=2&keep=%2F&c=3&a=5&d=7%208");
}

#[test]
fn fields_of_an_object_keep_what_is_not_edited() {
    let mut doc = Doc::parse(Bytes::from_static(
        br#"{"a": 1.0, "b": false, "c": ["x"], "n": 7, "old": {"deep": 1e3}, "t": "s"}"#,
    ))
    .unwrap();
    let parts = [
        lists("remove", "body", &["t"]),
        lists("rename", "body", &["old:new"]),
        lists("replace", "body", &["b:true", "absent:1"]),
        lists("add", "body", &["b:no", "who:$(query_params.who) in $(headers[\"accept-language\"])"]),
        lists("append", "body", &["c:y", "n:8", "z:first"]),
    ];
    edited(&mut doc, &parts, |lists| &lists.body);
    let expected = concat!(
        r#"{"a": 1.0,"b":"true","c":["x","y"],"n":[7,"8"],"new":{"deep": 1e3},"#,
        r#""who":"ann b in de","z":["first"]}"#
    );
    assert_eq!(doc.bytes(), expected);
}

#[test]
fn headers_are_edited_whatever_their_case() {
    let mut head = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in [("x-a", "1"), ("x-a", "2"), ("x-b", "3"), ("x-c", "4")] {
        head.append_header(name, value).unwrap();
    }
    let parts = [
        lists("remove", "headers", &["X-C"]),
        lists("rename", "headers", &["x-a:X-New", "x-b:x-b"]),
        lists("replace", "headers", &["X-B:five"]),
        lists("add", "headers", &["x-b:six", "x-d:seven"]),
        lists("append", "headers", &["x-b:eight"]),
    ];
    edited(&mut Headers(&mut head), &parts, |lists| &lists.headers);
    let values = |name: &str| head.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(values("x-new"), ["1", "2"]);
    assert_eq!(values("x-b"), ["five", "eight"]);
    assert_eq!(values("x-d"), ["seven"]);
    assert!(values("x-a").is_empty() && values("x-c").is_empty());
}

#[tokio::test]
async fn parts_of_a_form_keep_their_bytes() {
    let body = concat!(
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.bin\"\r\nContent-Type: a/b\r\n\r\n\0\r\n\r\n",
        "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n"
    );
    let kind = "multipart/form-data; boundary=x";
    let mut form = multipart::Form::read(kind, Bytes::from_static(body.as_bytes())).await.unwrap();
    let parts = [lists("rename", "body", &["a:b"]), lists("add", "body", &["c:2", "file:no"])];
    edited(&mut form, &parts, |lists| &lists.body);
    let written = form.write();
    let again = multipart::Form::read(kind, written.clone()).await.unwrap();
    assert!(again.has("file") && again.has("b") && again.has("c") && !again.has("a"));
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains("filename=\"f.bin\"\r\ncontent-type: a/b\r\n\r\n\0\r\n\r\n--x"), "{text}");
    assert!(
        text.contains("name=\"b\"\r\n\r\n1\r\n") && text.ends_with("name=\"c\"\r\n\r\n2\r\n--x--\r\n"),
        "{text}"
    );
    assert!(multipart::Form::read("multipart/form-data", Bytes::new()).await.is_err());
}

#[test]
fn what_cannot_be_meant_is_refused_when_it_is_loaded() {
    assert_eq!(pair("a:").unwrap_err(), "key 'a' has no value");
    assert_eq!(pair(":b").unwrap_err(), "invalid value: :b");
    assert_eq!(header_pair("x-a").unwrap_err(), "invalid value: x-a");
    assert_eq!(header_pair("a b:c").unwrap_err(), "'a b' is not a valid header");
    assert_eq!(header_rename("x-a:b c").unwrap_err(), "'b c' is not a valid header");
    for framing in ["Host", "content-length"] {
        assert!(header_name(framing).unwrap_err().contains("cannot be edited"));
    }
    for expression in ["$(", "$(os.exit())", "$(headers)", "$(headers.)", "$(shared.a)", "$(headers['a'].b)"]
    {
        assert!(Template::read(expression).is_err(), "{expression}");
    }
    assert!(pair("a::b:c").is_ok() && header_pair("x-a:").is_ok());
}

#[test]
fn what_a_request_does_not_have_is_empty() {
    let (headers, captures) = (HeaderMap::new(), [(Arc::from("id"), "7".to_owned())]);
    let source = Source { headers: &headers, captures: &captures, query: "" };
    let rendered = |text| Template::read(text).unwrap().render(&source);
    assert_eq!(rendered("/v1/$(uri_captures.id)/$(headers.x)$(uri_captures['id'])"), "/v1/7/7");
}
