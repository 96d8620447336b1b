use super::*;
use crate::target::state::State;
use crate::upstream::endpoint::Timeouts;
use serde_json::{Value, json};
use uuid::Uuid;

fn targets(names: &[&str]) -> Vec<Target> {
    let raws: Vec<Value> = names
        .iter()
        .map(|name| json!({"route_type": "llm/v1/chat", "model": {"provider": "openai", "name": name}}))
        .collect();
    let refs: Vec<&Value> = raws.iter().collect();
    let states = State::shared(Uuid::new_v4(), &refs);
    refs.iter()
        .zip(states)
        .map(|(raw, state)| Target::load(raw, state, Timeouts::default()).unwrap())
        .collect()
}

fn settings(balancer: &Value) -> Settings {
    let mut whole = json!({
        "algorithm": "round-robin", "slots": 1_000, "hash_on_header": "X-Session",
        "latency_strategy": "tpot", "tokens_count_strategy": "total-tokens"
    });
    for (name, value) in balancer.as_object().unwrap() {
        whole[name] = value.clone();
    }
    serde_json::from_value(json!({"balancer": whole})).unwrap()
}

#[test]
fn one_target_is_no_choice_and_still_may_be_unusable() {
    let balancer =
        Balancer::load(&settings(&json!({"algorithm": "lowest-usage"})), &targets(&["a"])).unwrap();
    assert!(matches!(balancer.0, Way::One), "no lock, no work");
    assert_eq!(balancer.pick(&turn(&|_| true)), Some(0));
    assert_eq!(balancer.pick(&turn(&|_| false)), None);
}

#[test]
fn every_algorithm_picks_what_is_usable_and_nothing_else() {
    let targets = targets(&["a", "b", "c"]);
    for algorithm in [
        "round-robin",
        "consistent-hashing",
        "least-connections",
        "lowest-usage",
        "lowest-latency",
        "priority",
    ] {
        let balancer = Balancer::load(&settings(&json!({"algorithm": algorithm})), &targets).unwrap();
        for only in 0..3 {
            assert_eq!(balancer.pick(&turn(&|index| index == only)), Some(only), "{algorithm}");
        }
        assert_eq!(balancer.pick(&turn(&|_| false)), None, "{algorithm}");
    }
}

#[tokio::test]
async fn a_session_stays_by_its_header_and_requests_without_are_spread() {
    let balancer =
        Balancer::load(&settings(&json!({"algorithm": "consistent-hashing"})), &targets(&["a", "b"]))
            .unwrap();
    let (connections, doc) = (Arc::new(Connections::new(1)), Doc::empty());
    let home = async |headers: &HeaderMap, id: u32| {
        let id = id.to_string();
        let bearing = balancer.bearing(&connections, &Seen { headers, id: &id, doc: &doc }).await;
        balancer.pick(&bearing.turn(&|_| true, Instant::now())).unwrap()
    };
    let mut headers = HeaderMap::new();
    let mut spread = [0; 2];
    for id in 0..1_000 {
        spread[home(&headers, id).await] += 1;
    }
    assert!(spread.iter().all(|count| *count > 400), "{spread:?}");
    headers.insert("x-session", "s-1".parse().unwrap());
    let own = home(&headers, 0).await;
    for id in 1..100 {
        assert_eq!(home(&headers, id).await, own);
    }
}

#[test]
fn what_cannot_be_done_is_refused_at_load() {
    let targets = targets(&["a", "b"]);
    for (balancer, message) in [
        (
            json!({"algorithm": "lowest-usage", "tokens_count_strategy": "llm-accuracy"}),
            "balancer.tokens_count_strategy: 'llm-accuracy' needs a model that judges",
        ),
        (
            json!({"algorithm": "consistent-hashing", "hash_on_header": "a b"}),
            "balancer.hash_on_header: 'a b' cannot be the name of a header",
        ),
    ] {
        let error = Balancer::load(&settings(&balancer), &targets).err().unwrap();
        assert!(error.message().starts_with(message), "{error}");
    }
}
