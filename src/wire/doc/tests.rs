use super::refusal::{NOT_AN_OBJECT, NOT_UTF8};
use super::*;
use serde_json::value::to_raw_value;

fn doc(text: &str) -> Doc {
    Doc::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn refused(text: &[u8]) -> String {
    let error = Doc::parse(Bytes::copy_from_slice(text)).unwrap_err();
    assert_eq!(error.kind(), Kind::BadRequest);
    error.message().to_owned()
}

fn out(doc: &Doc) -> String {
    String::from_utf8(doc.bytes().to_vec()).unwrap()
}

#[test]
fn unedited_is_the_same_buffer() {
    let raw = Bytes::from_static(b" \r\n{ \"a\" : 1.0 ,\t\"b\":[ ] }\n");
    let doc = Doc::parse(raw.clone()).unwrap();
    assert!(!doc.is_edited());
    assert_eq!(doc.bytes().as_ptr(), raw.as_ptr());
    assert_eq!(doc.bytes(), raw);
}

#[test]
fn edits_leave_other_fields_verbatim() {
    let mut doc = doc(
        r#" { "model" : "a", "id": 9007199254740993, "t" : 1.0, "big":1e400 ,"s":"\u00e9\/" , "n":{ "x" : [1 , 2] } } "#,
    );
    doc.set("model", "gpt-4o").unwrap();
    doc.set("stream", &true).unwrap();
    assert!(doc.is_edited());
    assert_eq!(
        out(&doc),
        r#"{"model":"gpt-4o","id": 9007199254740993,"t" : 1.0,"big":1e400,"s":"\u00e9\/","n":{ "x" : [1 , 2] },"stream":true}"#
    );
}

#[test]
fn an_edited_text_fills_its_allocation() {
    let mut doc = doc(r#"{"model":"a","x":[1,2]}"#);
    doc.set("stream", &true).unwrap();
    let bytes = doc.bytes();
    let vec: Vec<u8> = bytes.into();
    assert_eq!(vec.len(), vec.capacity());
}

#[test]
fn setting_the_same_value_is_no_edit() {
    let mut doc = doc(r#"{"model": "a","stream":true}"#);
    doc.set("model", "a").unwrap();
    doc.set("stream", &true).unwrap();
    assert!(!doc.is_edited());
    doc.set("model", "b").unwrap();
    doc.set("model", "a").unwrap();
    assert_eq!(out(&doc), r#"{"model":"a","stream":true}"#);
}

#[test]
fn removed_and_set_again_goes_to_the_end() {
    let mut doc = doc(r#"{"a":1,"b":2,"c":3}"#);
    assert!(doc.remove("a"));
    assert!(!doc.remove("a"));
    assert!(!doc.has("a"));
    doc.set("a", &4).unwrap();
    assert_eq!(out(&doc), r#"{"b":2,"c":3,"a":4}"#);
    assert_eq!(doc.keys().collect::<Vec<_>>(), ["b", "c", "a"]);
    for key in ["a", "b", "c"] {
        assert!(doc.remove(key));
    }
    assert_eq!(out(&doc), "{}");
}

#[test]
fn empty_documents() {
    let mut new = Doc::empty();
    assert_eq!(out(&new), "{}");
    new.set("a\"b", &None::<u8>).unwrap();
    assert_eq!(out(&new), r#"{"a\"b":null}"#);
    assert!(new.has("a\"b") && new.is_null("a\"b"));
    assert_eq!(new.keys().collect::<Vec<_>>(), ["a\"b"]);
    let mut parsed = doc(" { } ");
    parsed.set_raw("x", &to_raw_value(&[1, 2]).unwrap());
    assert_eq!(out(&parsed), r#"{"x":[1,2]}"#);
}

#[test]
fn escaped_keys_are_found_and_kept() {
    let mut doc = doc(r#"{"mod\u0065l":"a","\"":1,"":2}"#);
    assert_eq!(doc.text("model").as_deref(), Some("a"));
    assert_eq!(doc.raw("\""), Some("1"));
    assert_eq!(doc.raw(""), Some("2"));
    doc.set("model", "b").unwrap();
    assert_eq!(out(&doc), r#"{"mod\u0065l":"b","\"":1,"":2}"#);
}

#[test]
fn duplicate_keys_are_refused() {
    assert_eq!(
        refused(br#"{"messages":[],"model":"a","messages":[1]}"#),
        "request body holds the key 'messages' twice"
    );
    assert_eq!(refused(br#"{"model":"a","mod\u0065l":"b"}"#), "request body holds the key 'model' twice");
    let many = (0..100_000).fold(String::new(), |text, n| text + &format!("\"k{n}\":0,"));
    assert!(Doc::parse(Bytes::from(format!("{{{many}\"x\":1}}"))).is_ok());
    assert_eq!(refused(format!("{{{many}\"k77\":1}}").as_bytes()), "request body holds the key 'k77' twice");
    let long = "k".repeat(5000);
    assert!(refused(format!("{{\"{long}\":1,\"{long}\":1}}").as_bytes()).len() < 120);
    assert!(Doc::parse(Bytes::from_static(br#"{"a":{"b":1,"b":2}}"#)).is_ok());
}

#[test]
fn what_is_not_an_object_is_refused() {
    for text in ["[]", " [{\"a\":1}] ", "null", "1", "\"{}\"", "\u{feff}[]"] {
        assert_eq!(refused(text.as_bytes()), NOT_AN_OBJECT, "{text}");
    }
    let broken = [
        "",
        " ",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{\"a\":'b'}",
        "{\"a\":\"b\n\"}",
        "{\"a\":[1,]}",
        "{\"\\ud800\":1}",
        "[",
        "model=a",
        "{\"a\":nul}",
        "{\"a\":\"\\x\"}",
        "{1:2}",
    ];
    for text in broken {
        assert_eq!(refused(text.as_bytes()), BROKEN, "{text}");
    }
}

#[test]
fn text_must_be_utf8() {
    assert_eq!(refused(b"{\"a\":\"\xff\"}"), NOT_UTF8);
    assert_eq!(refused(b"\xff\xfe{\0}\0"), NOT_UTF8);
    assert_eq!(refused(b"{\"a\xc3\":1}"), NOT_UTF8);
}

#[test]
fn a_byte_order_mark_is_let_pass() {
    let mut doc = doc("\u{feff} {\"a\":1,\"b\":\"x\"}");
    assert_eq!(doc.raw("a"), Some("1"));
    assert!(doc.bytes().starts_with(b"\xef\xbb\xbf {"));
    doc.set("a", &2).unwrap();
    assert_eq!(out(&doc), r#"{"a":2,"b":"x"}"#);
}

#[test]
fn depth_costs_no_stack() {
    let deep = |n: usize| format!("{{\"a\":{}{},\"model\":\"m\"}}", "[".repeat(n), "]".repeat(n));
    let mut doc = doc(&deep(10_000));
    doc.set("model", "n").unwrap();
    assert_eq!(out(&doc), deep(10_000).replace("\"m\"", "\"n\""));
    assert_eq!(doc.raw("a").unwrap().len(), 20_000);
    assert_eq!(refused(deep(10_000).replacen(']', "", 1).as_bytes()), BROKEN);
    assert_eq!(refused("[".repeat(100_000).as_bytes()), BROKEN);
    assert_eq!(refused(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes()), NOT_AN_OBJECT);
    let objects = format!("{{\"a\":{}1{}}}", "{\"b\":".repeat(10_000), "}".repeat(10_000));
    assert!(Doc::parse(Bytes::from(objects)).is_ok());
}

#[test]
fn reading_fields() {
    let doc = doc(r#"{"t":0.5,"n":null,"s":"a\nb","p":"plain","l":["x"],"lone":"\ud800"}"#);
    assert_eq!(doc.field::<f64>("t").unwrap(), Some(0.5));
    assert_eq!(doc.field::<f64>("n").unwrap(), None);
    assert_eq!(doc.field::<f64>("absent").unwrap(), None);
    assert_eq!(doc.field::<Vec<&str>>("l").unwrap(), Some(vec!["x"]));
    assert_eq!(doc.field::<&RawValue>("s").unwrap().unwrap().get(), r#""a\nb""#);
    assert_eq!(doc.text("s").as_deref(), Some("a\nb"));
    assert!(matches!(doc.text("p"), Some(Cow::Borrowed("plain"))));
    assert_eq!(doc.text("t"), None);
    assert_eq!(doc.text("lone"), None);
    assert!(doc.is_null("n") && !doc.is_null("t") && !doc.is_null("absent"));
    assert!(doc.has("n") && !doc.has("absent"));
    assert_eq!((doc.raw("n"), doc.raw("absent")), (Some("null"), None));
}

#[test]
fn mismatches_say_what_to_change() {
    #[derive(serde::Deserialize, Debug)]
    struct Message {
        #[serde(rename = "role")]
        _role: String,
    }
    let doc = doc(r#"{"t":"hot","m":[{"role":1}],"k":[{}],"i":-1,"o":[]}"#);
    let said = |error: Error| error.message().to_owned();
    assert_eq!(said(doc.field::<f64>("t").unwrap_err()), "field 't': expected a number");
    assert_eq!(said(doc.field::<u32>("i").unwrap_err()), "field 'i': expected a non-negative integer");
    assert_eq!(said(doc.field::<Vec<u8>>("t").unwrap_err()), "field 't': expected an array");
    assert_eq!(said(doc.field::<String>("o").unwrap_err()), "field 'o': expected a string");
    assert_eq!(
        said(doc.field::<Vec<Message>>("m").unwrap_err()),
        "field 'm' (at line 1, column 10 of its value): expected a string"
    );
    assert!(said(doc.field::<Vec<Message>>("k").unwrap_err()).ends_with(": missing field `role`"));
}

#[test]
fn splicing() {
    let item = |n: u8| to_raw_value(&n).unwrap();
    let mut doc = doc(r#"{"a":[ 1.0 , "x" ],"e":[ ],"o":{},"s":"[]"}"#);
    doc.splice("a", Side::Front, &[]).unwrap();
    assert!(!doc.is_edited());
    doc.splice("a", Side::Front, &[item(7), item(8)]).unwrap();
    doc.splice("a", Side::Back, &[item(9)]).unwrap();
    doc.splice("e", Side::Front, &[item(1)]).unwrap();
    doc.splice("e", Side::Back, &[item(2)]).unwrap();
    assert_eq!(out(&doc), r#"{"a":[7,8,1.0 , "x",9],"e":[1,2],"o":{},"s":"[]"}"#);
    assert_eq!(doc.raw("e"), Some("[1,2]"));
    doc.surround("e", &[item(3)], &[item(4), item(5)]).unwrap();
    assert_eq!(doc.raw("e"), Some("[3,1,2,4,5]"));
    for key in ["o", "s", "absent"] {
        let error = doc.splice(key, Side::Back, &[item(1)]).unwrap_err();
        assert_eq!(error.message(), format!("field '{key}' must be an array"));
    }
}

#[test]
fn copies_are_independent() {
    let mut first = doc(r#"{"model":"a"}"#);
    first.set("n", &1).unwrap();
    let mut second = first.clone();
    second.set("model", "b").unwrap();
    assert_eq!(out(&first), r#"{"model":"a","n":1}"#);
    assert_eq!(out(&second), r#"{"model":"b","n":1}"#);
}

#[test]
fn a_value_that_cannot_be_written_changes_nothing() {
    let mut doc = doc(r#"{"a":1}"#);
    let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert_eq!(doc.set("a", &unwritable).unwrap_err().kind(), Kind::Internal);
    assert!(!doc.is_edited());
    doc.set("b", &2).unwrap();
    assert_eq!(out(&doc), r#"{"a":1,"b":2}"#);
}

#[test]
fn debug_shows_no_contents() {
    let shown = format!("{:?}", doc(r#"{"secret":"value"}"#));
    assert!(!shown.contains("secret") && !shown.contains("value"), "{shown}");
}

#[test]
fn what_is_forwarded_unseen_is_known_by_being_no_object() {
    for (text, opaque) in [("[1]", true), ("", true), ("\0\u{1}", true), (" {\"a\":1}", false), ("{}", false)]
    {
        let doc = Doc::opaque(Bytes::from_static(text.as_bytes()));
        assert_eq!(doc.is_opaque(), opaque, "{text:?}");
        assert_eq!((doc.bytes().as_ref(), doc.has("a")), (text.as_bytes(), false));
    }
    assert!(!Doc::parse(Bytes::from_static(b"{\"a\":1}")).unwrap().is_opaque());
    let mut edited = Doc::opaque(Bytes::from_static(b"[1]"));
    edited.set("a", &1).unwrap();
    assert!(!edited.is_opaque());
}
