//! The configuration on a Redis or Valkey server, for a fleet of gateways.
//!
//! One hash holds the document and its version, a fresh random text for every write. A write names the
//! version that it is based on and is refused if another was faster, in one script on the server: of two
//! writers one starts over on what the other left, and neither loses anything. Versions are not counted:
//! a server that came back without its data must not make two documents look like one.

use super::store::{Kept, Unsaved, Version};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use std::time::Duration;
use tokio::sync::Mutex;
use uuid::Uuid;

/// The hash that holds the configuration, unless the URL names another: `?key=…`.
const KEY: &str = "tollgate:configuration";

/// How long the server may take. Requests do not wait for it, changes do.
const PATIENCE: Duration = Duration::from_secs(2);

const SAVE: &str = "
local now = redis.call('HGET', KEYS[1], 'version') or ''
if now ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'document', ARGV[3])
return 1";

/// A server and the key on it.
pub struct Redis {
    client: Client,
    key: String,
    /// Without its password.
    shown: String,
    link: Mutex<Option<MultiplexedConnection>>,
}

impl Redis {
    /// Reads a URL: `redis://[user:password@]host[:port][/database][?key=name]`; `rediss` for TLS.
    pub fn open(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            format!("store: {why}; it is written redis[s]://[user:password@]host[:port][/database]")
        };
        let mut url = url::Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "redis" | "rediss") {
            return Err(bad(&format!("'{}' is not a kind of store", url.scheme())));
        }
        if url.fragment().is_some() {
            return Err(bad("leave out the fragment"));
        }
        let given = url.query_pairs().find(|(name, _)| name == "key").map(|(_, value)| value.into_owned());
        url.set_query(None);
        let client = Client::open(url.as_str()).map_err(|error| bad(&error.to_string()))?;
        // What is shown in messages must not hold the password; a URL that cannot lose it is not shown.
        let hidden = url.password().is_none() || url.set_password(Some("***")).is_ok();
        let shown = if hidden { url.to_string() } else { "the store".to_owned() };
        Ok(Self { client, key: given.unwrap_or_else(|| KEY.to_owned()), shown, link: Mutex::new(None) })
    }

    /// The version of what the server keeps, if it keeps anything.
    pub async fn version(&self) -> Result<Option<Version>, String> {
        let mut command = redis::cmd("HGET");
        command.arg(&self.key).arg("version");
        self.ask(&command).await
    }

    /// What the server keeps.
    pub async fn load(&self) -> Result<Option<Kept>, String> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.key).arg("version").arg("document");
        let (version, text): (Option<Version>, Option<String>) = self.ask(&command).await?;
        let name = self.shown.clone();
        Ok(version.zip(text).map(|(version, text)| Kept { name, text, version }))
    }

    /// Replaces what the server keeps, if it is still what the change is based on.
    pub async fn save(&self, text: &str, based_on: &str) -> Result<Version, Unsaved> {
        let version = Uuid::new_v4().to_string();
        let mut command = redis::cmd("EVAL");
        command.arg(SAVE).arg(1).arg(&self.key).arg(based_on).arg(&version).arg(text);
        match self.ask::<u8>(&command).await {
            Ok(1) => Ok(version),
            Ok(_) => Err(Unsaved::Conflict),
            Err(why) => Err(Unsaved::Failed(why)),
        }
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, String> {
        let mut link = self.link.lock().await;
        let asked = async {
            let connection = match &mut *link {
                Some(connection) => connection,
                none => none.insert(self.connect().await?),
            };
            command.query_async::<T>(connection).await
        };
        let answer = asked.await;
        if answer.is_err() {
            *link = None;
        }
        answer.map_err(|error| format!("the store at {} failed: {error}", self.shown))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Lets go of the connection: it belongs to the runtime that made it.
    pub async fn forget(&self) {
        *self.link.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_its_password_is_not_shown() {
        let redis = Redis::open("redis://u:s3cret@h:7000/2?key=mine").unwrap();
        assert_eq!(redis.key, "mine");
        assert!(redis.shown.contains("h:7000/2") && !redis.shown.contains("s3cret"), "{}", redis.shown);
        assert_eq!(Redis::open("redis://h").unwrap().key, KEY);
        assert!(Redis::open("rediss://h").is_ok(), "by TLS");
        for bad in ["h:6379", "rediss://h#insecure", "postgres://h", "", "redis://"] {
            assert!(Redis::open(bad).is_err(), "{bad}");
        }
    }
}
