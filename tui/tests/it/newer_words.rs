//! Answers of a daemon that is newer than the console: its closed lists have words that nobody here knows.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tui::action::Answer;
use tui::state::deeds::Base;

/// The answer of a daemon whose lists have this word and no other, and who knows of more permissions and grants.
pub(crate) fn newer(answer: Answer, word: &str) -> Answer {
    match answer {
        Answer::Session(mut reply) => {
            reply.body.role = serde_json::from_value(json!(word)).unwrap();
            Answer::Session(reply)
        }
        Answer::Me(reply) => Answer::Me(reply.map(|body| changed(&body, word))),
        Answer::Models(reply) => Answer::Models(reply.map(|body| changed(&body, word))),
        Answer::Model(reply) => Answer::Model(reply.map(|body| changed(&body, word))),
        Answer::Versions(reply) => Answer::Versions(reply.map(|body| changed(&body, word))),
        Answer::Version(reply) => Answer::Version(reply.map(|body| changed(&body, word))),
        Answer::Users(reply) => Answer::Users(reply.map(|body| changed(&body, word))),
        Answer::User(reply) => Answer::User(reply.map(|body| changed(&body, word))),
        Answer::Tokens(reply) => Answer::Tokens(reply.map(|body| changed(&body, word))),
        Answer::Status(reply) => Answer::Status(reply.map(|body| changed(&body, word))),
        Answer::Ingest(reply) => Answer::Ingest(reply.map(|body| changed(&body, word))),
        Answer::Quarantine(reply) => Answer::Quarantine(reply.map(|body| changed(&body, word))),
        Answer::Look(reply) => Answer::Look(reply.map(|base| match base {
            Base::Model(info) => Base::Model(changed(&info, word)),
            Base::Version(info) => Base::Version(changed(&info, word)),
            Base::User(user) => Base::User(changed(&user, word)),
            Base::Item(item) => Base::Item(changed(&item, word)),
            Base::Token(token) => Base::Token(changed(&token, word)),
            other => other,
        })),
        other => other,
    }
}

fn changed<T: Serialize + DeserializeOwned>(body: &T, word: &str) -> T {
    let mut value = serde_json::to_value(body).unwrap();
    change(&mut value, word);
    serde_json::from_value(value).unwrap()
}

fn change(value: &mut Value, word: &str) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| change(value, word)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| change(value, word));
            if fields.contains_key("username") {
                fields.insert("grants".into(), json!([{"pattern": "team-nlp/*", "role": word}]));
            }
            for (name, value) in fields {
                match (name.as_str(), &mut *value) {
                    ("state" | "kind" | "role" | "origin" | "decision", Value::String(_)) => *value = json!(word),
                    ("states", Value::Object(_)) => *value = json!({"waiting": 2, word: 7}),
                    ("permissions", Value::Array(all)) => all.push(json!(word)),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
