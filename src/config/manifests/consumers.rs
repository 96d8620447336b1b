//! Consumers with their credentials, and consumer groups.

use super::bindings::{Bindings, Scope};
use super::object::{Object, Role};
use super::{Work, annotations, map, secrets};
use crate::config::items::Member;
use crate::config::records::{ACLS, CONSUMERS, GROUPS, KEYS};
use crate::plugins;
use serde_json::{Map, Value};

const LABEL: &str = "konghq.com/credential";
/// Where controllers before version 3 wrote it.
const OLD_FIELD: &str = "kongCredType";

/// Makes the groups, then the consumers with what they have.
pub fn translate(work: &mut Work<'_>, bindings: &mut Bindings) {
    let store = work.store;
    for group in store.all(Role::ConsumerGroup) {
        annotations::check(work, group);
        let value = map([("name", group.name.as_str().into()), ("tags", group.tags().into())]);
        work.item(GROUPS, group, "", value);
        bindings.annotated(work, group, &Scope::Group(group.name.clone()));
    }
    for consumer in store.all(Role::Consumer) {
        annotations::check(work, consumer);
        one(work, bindings, consumer);
    }
}

fn one(work: &mut Work<'_>, bindings: &mut Bindings, consumer: &Object) {
    let field = |name: &str| consumer.value.get(name).cloned().unwrap_or_default();
    let value = map([
        ("username", field("username")),
        ("custom_id", field("custom_id")),
        ("tags", consumer.tags().into()),
    ]);
    let Some(place) = work.item(CONSUMERS, consumer, "", value) else { return };
    let groups = consumer.array("consumerGroups").iter().enumerate();
    let members: Vec<Member> = groups
        .map(|(index, group)| {
            let path = consumer.at(&format!("consumerGroups[{index}]"));
            Member { path, value: group.clone(), item: None }
        })
        .collect();
    if let Some(item) = work.items.get_mut(place) {
        item.members = members;
    }
    for (index, secret) in consumer.array("credentials").iter().enumerate() {
        let path = format!("credentials[{index}]");
        if let Err(message) = credential(work, (consumer, place), &path, secret) {
            work.problem(consumer, &path, message);
        }
    }
    bindings.annotated(work, consumer, &Scope::Consumer(place));
}

fn credential(
    work: &mut Work<'_>,
    (consumer, place): (&Object, usize),
    path: &str,
    secret: &Value,
) -> Result<(), String> {
    let name = secret.as_str().ok_or("expected the name of a Secret")?;
    let secret = secrets::find(work.store, &consumer.namespace, name)?;
    let kind = match secret.label(LABEL) {
        Some(kind) => kind.to_owned(),
        None => secrets::value(secret, OLD_FIELD)?
            .ok_or_else(|| format!("{secret} does not say what credential it is: label it {LABEL}"))?,
    };
    let (collection, field) = if kind == plugins::key_auth::KIND.name {
        (KEYS, "key")
    } else if kind == plugins::acl::KIND.name {
        (ACLS, "group")
    } else {
        return Err(format!(
            "{secret} is a credential of the kind '{kind}', which is not supported by this gateway"
        ));
    };
    if let Some(other) = secrets::keys(secret).find(|key| ![field, OLD_FIELD].contains(key)) {
        return Err(format!(
            "{secret} has the key '{other}', which is not supported by this gateway: remove it"
        ));
    }
    let value = secrets::value(secret, field)?.ok_or_else(|| format!("{secret} has no key '{field}'"))?;
    secrets::note(work, secret);
    let mut entity = Map::new();
    entity.insert(field.to_owned(), value.into());
    entity.insert("tags".to_owned(), secret.tags().into());
    if let Some(item) =
        work.item(collection, consumer, path, entity).and_then(|made| work.items.get_mut(made))
    {
        item.parent = Some((place, "consumer"));
    }
    Ok(())
}
