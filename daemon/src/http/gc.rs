//! `/gc`: a line for everything a collection tells, as it tells it. What is collected is the registry's.

use common::api::gc::GcRequest;

use crate::http::{Answer, Call, body, respond};

/// `POST /gc`
pub(crate) async fn collect(mut call: Call) -> Answer {
    let request: GcRequest = body::json(&mut call, body::JSON_BYTES_MAX).await?;
    let told = call.shared.registry.collect(&call.caller, request).await?;
    Ok(respond::lines(told, call.shared.stopping.clone(), |line| line))
}
