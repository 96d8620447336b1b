use super::*;
use crate::meter::metrics::tests::{assert_near, scraped};
use crate::meter::tally::{Count, Provenance};

const ASKED: &str = r#"{"messages":[{"role":"user","content":"say hello to everybody"}]}"#;

/// An account under a model of its own.
fn opened(model: &str, change: impl FnOnce(&mut Holder)) -> Account {
    let metrics = Arc::new(TargetMetrics::new("openai", Some(model)));
    let mut holder = Holder { metrics, price: None, kong: false, payloads: false, estimate: true };
    change(&mut holder);
    Account::open(holder, Doc::parse(Bytes::from_static(ASKED.as_bytes())).unwrap(), Instant::now())
}

fn event(text: &str, reason: &str) -> Bytes {
    let reason = if reason.is_empty() { "null".to_owned() } else { format!("\"{reason}\"") };
    let choice = format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{reason}}}"#);
    Bytes::from(format!("data: {{\"choices\":[{choice}]}}\n\n"))
}

fn body(text: &str) -> Bytes {
    let choice = format!(r#"{{"message":{{"content":"{text}"}},"finish_reason":"length"}}"#);
    Bytes::from(format!(r#"{{"choices":[{choice}]}}"#))
}

fn stated(prompt: u64, completion: u64) -> Usage {
    Usage { prompt: Some(prompt), completion: Some(completion), ..Usage::default() }
}

fn counted(tokens: u64, from: Provenance) -> Count {
    Count { tokens, from }
}

#[test]
fn an_answer_is_settled_by_its_usage_and_once() {
    let mut account = opened("account-of-a-reply", |holder| holder.kong = true);
    account.reply(stated(7, 3), body("hello"));
    let settled = account.settle();
    let tally = settled.tally.unwrap();
    assert_eq!((settled.ending, settled.streamed, settled.text.clone()), (Ending::Complete, false, None));
    assert_eq!(
        (tally.prompt, tally.completion),
        (counted(7, Provenance::Provider), counted(3, Provenance::Provider))
    );
    assert!(settled.times.first_token.is_none() && settled.times.rest.is_none());
    assert_eq!(account.settled().unwrap().tally, Some(tally));
    assert_eq!(account.finish_reasons(), ["length"]);
    account.end(Ending::Broken);
    assert_eq!(account.settle().ending, Ending::Complete);
    drop(account);
    let labels = ["account-of-a-reply"];
    assert_near(scraped("tollgate_settlements_total", &labels), 1.0);
    assert_near(scraped("kong_ai_llm_requests_total", &labels), 1.0);
}

#[test]
fn an_account_that_is_dropped_was_broken_and_counts_what_came() {
    let mut account = opened("account-dropped", |_| {});
    account.events(event("hello ", ""));
    account.usage(stated(7, 1));
    drop(account);
    let tokens = |labels: &[&str]| scraped("tollgate_tokens_total", &[labels, &["account-dropped"]].concat());
    assert_near(scraped("tollgate_settlements_total", &["account-dropped", "broken"]), 1.0);
    assert_near(tokens(&["input", "provider"]), 7.0);
    // An early count is not that of the whole.
    assert_eq!(estimate::tokens("hello "), 2);
    assert_near(tokens(&["output", "partial"]), 2.0);
}

#[test]
fn without_usage_prompt_and_answer_are_estimated() {
    let mut account = opened("account-estimated", |_| {});
    account.reply(Usage::default(), body("hello world"));
    let tally = account.settle().tally.unwrap();
    let prompt = estimate::tokens("say hello to everybody") + estimate::prompt_overhead(1);
    assert_eq!(tally.prompt, counted(prompt, Provenance::Estimated));
    assert_eq!(tally.completion, counted(estimate::tokens("hello world"), Provenance::Estimated));
    // Traffic that is passed on as it is counts only what it states.
    let mut preserved = opened("account-preserved", |holder| holder.estimate = false);
    preserved.reply(Usage::default(), body("hello world"));
    assert_eq!(preserved.settle().tally, None);
    let mut preserved = opened("account-preserved", |holder| holder.estimate = false);
    preserved.reply(stated(7, 3), body("hello world"));
    assert_eq!(preserved.settle().tally.unwrap().total(), 10);
}

#[test]
fn a_refusal_has_no_tokens_and_a_cancelled_one_no_settlement() {
    let mut account = opened("account-refused", |holder| holder.kong = true);
    account.usage(stated(7, 3));
    account.end(Ending::Refused);
    assert_eq!(account.settle().tally, None);
    opened("account-cancelled", |holder| holder.kong = true).cancel();
    assert_near(scraped("tollgate_settlements_total", &["account-refused"]), 1.0);
    assert_near(scraped("tollgate_settlements_total", &["account-cancelled"]), 0.0);
}

#[test]
fn kong_counts_an_exchange_once_however_many_attempts_it_takes() {
    for (model, usage, ending, requests) in [
        ("superseded-refused", Usage::default(), Ending::Refused, 0.0),
        ("superseded-with-tokens", stated(7, 3), Ending::Broken, 1.0),
    ] {
        let mut account = opened(model, |holder| holder.kong = true);
        account.usage(usage);
        account.supersede();
        account.end(ending);
        account.settle();
        assert_near(scraped("kong_ai_llm_requests_total", &[model]), requests);
    }
    let mut account = opened("kong-not-asked", |_| {});
    account.reply(stated(1, 1), body("a"));
    account.settle();
    assert_near(scraped("kong_ai_llm_requests_total", &["kong-not-asked"]), 0.0);
}

#[test]
fn events_stay_unread_until_they_are_many_or_their_text_is_wanted() {
    let mut account = opened("account-unread", |_| {});
    account.events(event("hello ", ""));
    account.events(event("world", "stop"));
    assert_eq!((account.answer.unread.len(), account.finish_reasons()), (2, vec!["stop".to_owned()]));
    assert_eq!(account.counted(), estimate::tokens("hello world"));
    assert!(account.answer.unread.is_empty() && account.finish_reasons() == ["stop"]);
    account.events(Bytes::from(vec![b'\n'; UNREAD]));
    assert_eq!(account.answer.unread.len(), 1, "so much may be kept");
    account.events(Bytes::from_static(b"\n"));
    assert!(account.answer.unread.is_empty() && account.answer.unread_bytes == 0);
    account.whole();
    account.end(Ending::ClientGone);
    account.usage(stated(7, 3));
    let settled = account.settle();
    assert_eq!(
        settled.tally.unwrap().completion,
        counted(3, Provenance::Provider),
        "the count is of the whole"
    );
    assert!(settled.streamed && settled.times.first_token.is_some() && settled.times.rest.is_some());
}

#[test]
fn the_text_is_kept_for_the_log_if_it_is_asked_for() {
    let mut account = opened("account-payloads", |holder| holder.payloads = true);
    account.events(event("hello ", ""));
    account.events(event("world", "stop"));
    account.end(Ending::Complete);
    assert_eq!(account.settle().text.as_deref(), Some("hello world"));
    let mut account = opened("account-payloads", |holder| holder.payloads = true);
    account.text("from a ");
    account.text("decoder");
    account.reason("stop");
    account.reason("length");
    account.end(Ending::Complete);
    assert_eq!(account.finish_reasons(), ["stop"]);
    let settled = account.settle();
    let (text, tally) = (settled.text.as_deref(), settled.tally.unwrap());
    assert_eq!((text, tally.completion.tokens), (Some("from a decoder"), estimate::tokens("from a decoder")));
    let mut account = opened("account-payloads", |holder| holder.payloads = true);
    account.reply(stated(1, 1), body("a"));
    assert_eq!(
        account.settle().text.as_deref(),
        Some(r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}]}"#)
    );
}

#[test]
fn a_providers_time_ends_with_its_answer_and_of_a_stream_with_its_head() {
    let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
    let mut whole = opened("account-times", |_| {});
    whole.head();
    pause();
    whole.reply(stated(1, 1), body("a"));
    assert!(whole.settle().times.provider.as_millis() >= 20);
    let mut stream = opened("account-times", |_| {});
    stream.head();
    let head = stream.head.unwrap() - stream.sent;
    pause();
    stream.events(event("a", ""));
    pause();
    stream.end(Ending::Complete);
    let times = stream.settle().times;
    assert_eq!(times.provider, head);
    assert!(times.first_token.unwrap().as_millis() >= 20 && times.rest.unwrap().as_millis() >= 20);
}
