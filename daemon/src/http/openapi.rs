//! The OpenAPI 3.1 description of the interface, made from the route table and the wire types, so that it can't say what
//! they don't. Served at `/openapi.json` and printed by `mregd openapi`.
//! What the pages `/docs` and `/redoc` make of it is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use common::api;
use common::audit::Receipt;
use common::problem::{CONTENT_TYPE, Problem, ProblemType};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::http::route::table::TAGS;
use crate::http::route::{Access, Audit, Body, Content, Endpoint, Param, Place, ResponseHeader, Route, Shape, Success};
use crate::http::tus;

/// The document as JSON text. Made once.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));
    &TEXT
}

/// The document.
pub fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut refusals = BTreeMap::new();
    for endpoint in Route::ALL {
        let method = endpoint.method.to_ascii_lowercase();
        paths.entry(endpoint.template).or_default().insert(method, operation(endpoint, &mut refusals));
    }
    let tags: Vec<Value> =
        TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mreg",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A registry of machine-learning models whose history can be proved",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "headers": headers(),
            "responses": refusals,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `access_token` of `POST /login`, or an API token, `mreg_…`.",
                },
                "password": {
                    "type": "oauth2",
                    "description": "Signs in at `POST /login` with user name and password.",
                    "flows": {"password": {"tokenUrl": "/login", "scopes": {}}},
                },
            },
        },
    })
}

const DESCRIPTION: &str = "\
JSON in and out, UTF-8, snake_case keys. Times are RFC 3339 in UTC, sizes octets, digests `sha256:<64 hex>`. A trailing \
slash is accepted (but for tiles), and HEAD wherever GET is. Every answer has `X-Request-Id`, taken from the request where it is a token \
of at most 64 of `A-Z a-z 0-9 . _ -`.

Errors are `application/problem+json` (RFC 9457); `GET` on their `type` explains them. Lists are pages: follow \
`next_cursor`, or `Link` with `rel=\"next\"`. What is recorded carries `Mregd-Log-Index` and `Mregd-Log-Leaf`; changes \
return a `receipt` that proves it offline.";

// ---- operations -----------------------------------------------------------------------------------------------------

/// Answers that several endpoints have in common, by name.
type Refusals = BTreeMap<String, Value>;

fn operation(endpoint: &Endpoint, refusals: &mut Refusals) -> Value {
    let mut operation = json!({
        "operationId": endpoint.id,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "security": security(endpoint),
        "responses": responses(endpoint, refusals),
    });
    let text = match endpoint.access {
        Access::Permission(permission) => format!("{}\n\nNeeds `{permission}`.", endpoint.text),
        Access::Hashes => {
            format!(
                "{}\n\nOpen to anyone, or with `MREG_LOG_HASH_ACCESS=authenticated` to any live token.",
                endpoint.text
            )
        }
        Access::Operator => format!(
            "{}\n\nOnly at the daemon's control socket, by way of the sub-commands of `mregd`; over the network it is \
             refused whoever asks.",
            endpoint.text
        ),
        Access::Public | Access::Session | Access::SignedIn => endpoint.text.to_owned(),
    };
    if !text.is_empty() {
        operation["description"] = json!(text.trim());
    }
    let parameters: Vec<Value> = endpoint.path_params().chain(endpoint.params).map(parameter).collect();
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(body) = request_body(endpoint.body) {
        operation["requestBody"] = body;
    }
    operation
}

fn parameter(param: &Param) -> Value {
    let mut parameter = json!({
        "name": param.name,
        "in": match param.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        },
        "description": param.text,
        "schema": shape(param.shape),
    });
    if param.required {
        parameter["required"] = json!(true);
    }
    parameter
}

fn shape(shape: Shape) -> Value {
    match shape {
        Shape::Any => json!({"type": "string"}),
        Shape::Text { min, max } => json!({"type": "string", "minLength": min, "maxLength": max}),
        Shape::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
        Shape::Patterns(pattern) => json!({"type": "array", "items": {"type": "string", "pattern": pattern}}),
        Shape::Integer { min, max, default: None } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Integer { min, max, default: Some(default) } => {
            json!({"type": "integer", "minimum": min, "maximum": max, "default": default})
        }
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Time => json!({"type": "string", "format": "date-time"}),
        Shape::OneOf(words) => json!({"type": "string", "enum": words}),
    }
}

fn request_body(body: Body) -> Option<Value> {
    let content = match body {
        Body::None => return None,
        Body::Json(schema) => json!({"application/json": {"schema": reference(schema)}}),
        Body::JsonOrForm(schema) => json!({
            "application/json": {"schema": reference(schema)},
            "application/x-www-form-urlencoded": {"schema": reference(schema)},
        }),
        Body::Multipart(schema) => json!({"multipart/form-data": {"schema": reference(schema)}}),
        Body::Part => json!({tus::OCTETS: {"schema": octets(tus::OCTETS)}}),
        Body::Octets => json!({"application/octet-stream": {"schema": octets("application/octet-stream")}}),
    };
    // Octets of a resumable upload may be none.
    Some(json!({"required": body != Body::Part, "content": content}))
}

fn security(endpoint: &Endpoint) -> Value {
    match endpoint.access {
        // Where a token is no use but does no harm, and where it depends: "none" is one of the alternatives.
        Access::Public if endpoint.problems.contains(&ProblemType::Unauthenticated) => {
            json!([{}, {"bearer": []}, {"password": []}])
        }
        Access::Hashes => json!([{}, {"bearer": []}, {"password": []}]),
        Access::Public => json!([]),
        Access::Session | Access::SignedIn | Access::Permission(_) | Access::Operator => {
            json!([{"bearer": []}, {"password": []}])
        }
    }
}

// ---- answers --------------------------------------------------------------------------------------------------------

fn responses(endpoint: &Endpoint, refusals: &mut Refusals) -> Value {
    let mut responses: BTreeMap<String, Value> =
        endpoint.answers.iter().map(|answer| (answer.status.to_string(), success(answer))).collect();
    let mut by_status: BTreeMap<u16, Vec<ProblemType>> = BTreeMap::new();
    for problem in problems(endpoint) {
        by_status.entry(problem.status()).or_default().push(problem);
    }
    for (status, problems) in by_status {
        let refusal = refusal(status, &problems);
        if let Some(answer) = responses.get_mut(&status.to_string()) {
            // `/readyz` answers 503 in its own words; the edge may yet answer it with a problem.
            answer["content"][CONTENT_TYPE] = refusal["content"][CONTENT_TYPE].clone();
            continue;
        }
        let slugs: Vec<&str> = problems.iter().map(|problem| problem.slug()).collect();
        let name = format!("{status}.{}", slugs.join("."));
        responses.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
        refusals.insert(name, refusal);
    }
    json!(responses)
}

/// Every problem an endpoint can answer: what the table says, and what follows from it.
pub(crate) fn problems(endpoint: &Endpoint) -> Vec<ProblemType> {
    let mut problems = BTreeMap::new();
    let mut add = |kinds: &[ProblemType]| {
        for kind in kinds {
            problems.insert(kind.slug(), *kind);
        }
    };
    add(endpoint.problems);
    // Any endpoint's: broken encodings, unknown parameters, malformed conditions, heads that are too large, no connection
    // left, too much at once, a fault.
    add(&[
        ProblemType::BadRequest,
        ProblemType::Invalid,
        ProblemType::HeadersTooLarge,
        ProblemType::Unavailable,
        ProblemType::Overloaded,
        ProblemType::TooManyRequests,
        ProblemType::Internal,
    ]);
    match endpoint.access {
        // What a token is asked for, where it is, is in the table.
        Access::Public | Access::Hashes => {}
        Access::Session => add(&[ProblemType::Unauthenticated, ProblemType::TooManyRequests]),
        Access::SignedIn => add(&[
            ProblemType::Unauthenticated,
            ProblemType::PasswordChangeRequired,
            ProblemType::SecondFactorEnrolment,
            ProblemType::TooManyRequests,
        ]),
        Access::Permission(_) | Access::Operator => add(&[
            ProblemType::Unauthenticated,
            ProblemType::PasswordChangeRequired,
            ProblemType::SecondFactorEnrolment,
            ProblemType::Forbidden,
            ProblemType::TooManyRequests,
        ]),
    }
    if matches!(endpoint.audit, Audit::Refusals(_) | Audit::Always(_)) {
        add(&[ProblemType::AuditUnavailable]);
    }
    if endpoint.params.iter().any(|param| param.name == "Idempotency-Key") {
        add(&[ProblemType::IdempotencyKeyReused]);
    }
    if endpoint.params.iter().any(|param| param.name == "If-Match") {
        add(&[ProblemType::PreconditionFailed]);
    }
    match endpoint.body {
        Body::None => {}
        Body::Json(_) | Body::JsonOrForm(_) => {
            add(&[ProblemType::RequestTimeout, ProblemType::ContentTooLarge, ProblemType::UnsupportedMediaType])
        }
        Body::Multipart(_) | Body::Octets | Body::Part => add(&[ProblemType::ExpectationFailed]),
    }
    problems.into_values().collect()
}

fn success(answer: &Success) -> Value {
    let mut response = json!({"description": answer.text, "headers": response_headers(answer.headers)});
    let content: Map<String, Value> = answer
        .content
        .iter()
        .map(|content| match content {
            Content::Json(schema) => ("application/json".to_owned(), json!({"schema": reference(schema)})),
            Content::Octets(media_type) => ((*media_type).to_owned(), json!({"schema": octets(media_type)})),
        })
        .collect();
    if !content.is_empty() {
        response["content"] = json!(content);
    }
    response
}

fn refusal(status: u16, problems: &[ProblemType]) -> Value {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("- `{}`: {}.", problem.uri(), problem.title())).collect();
    let mut headers = response_headers(&[ResponseHeader::Logged]);
    let extra = match status {
        401 => &["WWW-Authenticate"][..],
        416 => &["Content-Range"],
        429 | 503 => &["Retry-After"],
        _ => &[],
    };
    for name in extra {
        headers[*name] = json!({"$ref": format!("#/components/headers/{name}")});
    }
    json!({
        "description": lines.join("\n"),
        "headers": headers,
        "content": {CONTENT_TYPE: {"schema": reference("Problem")}},
    })
}

fn response_headers(headers: &[ResponseHeader]) -> Value {
    let names: BTreeSet<&str> = headers.iter().flat_map(|header| names(*header)).copied().collect();
    let headers: Map<String, Value> = names
        .into_iter()
        .chain(["X-Request-Id"])
        .map(|name| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")})))
        .collect();
    json!(headers)
}

fn names(header: ResponseHeader) -> &'static [&'static str] {
    match header {
        ResponseHeader::ETag => &["ETag"],
        ResponseHeader::Location => &["Location"],
        ResponseHeader::Link => &["Link"],
        ResponseHeader::Logged => &["Mregd-Log-Index", "Mregd-Log-Leaf"],
        ResponseHeader::AcceptRanges => &["Accept-Ranges"],
        ResponseHeader::ContentRange => &["Content-Range"],
        ResponseHeader::ContentDisposition => &["Content-Disposition"],
        ResponseHeader::ReprDigest => &["Repr-Digest"],
        ResponseHeader::LastModified => &["Last-Modified"],
        ResponseHeader::Tus => &["Tus-Resumable", "Tus-Version"],
        ResponseHeader::TusOptions => &["Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"],
        ResponseHeader::UploadOffset => &["Upload-Offset", "Upload-Expires"],
        ResponseHeader::UploadLength => &["Upload-Length", "Upload-Defer-Length", "Upload-Metadata"],
    }
}

/// Header fields by name.
fn headers() -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "X-Request-Id": {
            "description": "The request's id; the daemon's log and the audit log name it.",
            "required": true,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        },
        "ETag": text("Entity tag of the state shown; of a download, the digest."),
        "Location": text("Where the new resource is; or, with a 307, where the octets are."),
        "Link": text("The next page, with `rel=\"next\"`; absent at the end."),
        "Mregd-Log-Index": {
            "description": "Index of the entry that records this request; absent where none was written.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "Mregd-Log-Leaf": text("RFC 6962 leaf hash of that entry, standard base64."),
        "Accept-Ranges": {
            "description": "Whether ranges can be asked for.",
            "schema": {"type": "string", "enum": ["bytes", "none"]},
        },
        "Content-Range": text("The range that is sent, and the whole size (RFC 9110 §14.4)."),
        "Content-Disposition": text("A file name to save it under (RFC 6266)."),
        "Repr-Digest": text("SHA-256 of the whole file (RFC 9530); absent for a tar stream."),
        "Last-Modified": text("When the version was published."),
        "Tus-Resumable": text("The version of the tus protocol: `1.0.0`."),
        "Tus-Version": text("The versions that are understood."),
        "Tus-Extension": text("The extensions that are understood, separated by commas."),
        "Tus-Max-Size": text("Octets of the largest upload."),
        "Tus-Checksum-Algorithm": text("The checksums that are understood, separated by commas."),
        "Upload-Offset": text("How many octets of the upload are durable."),
        "Upload-Expires": text("When it expires, unless something is appended before (RFC 9110 §5.6.7)."),
        "Upload-Length": text("Octets of the whole; absent where that is not known yet."),
        "Upload-Defer-Length": text("`1` where the length is not known yet."),
        "Upload-Metadata": text("What was said when it was created."),
        "WWW-Authenticate": text("`Bearer`."),
        "Retry-After": {
            "description": "Seconds to wait.",
            "schema": {"type": "integer", "minimum": 0},
        },
    })
}

// ---- schemas --------------------------------------------------------------------------------------------------------

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn octets(media_type: &str) -> Value {
    if media_type.starts_with("text/") || media_type.starts_with("application/x-ndjson") {
        json!({"type": "string"})
    } else {
        // `format` for the tools that grew up with OpenAPI 3.0, `contentMediaType` as 3.1 has it.
        json!({"type": "string", "format": "binary", "contentMediaType": media_type})
    }
}

fn schemas() -> Value {
    let mut schemas = Map::new();
    add::<Problem>(&mut schemas);
    add::<Receipt>(&mut schemas);
    add::<api::Login>(&mut schemas);
    add::<api::Token>(&mut schemas);
    add::<api::Me>(&mut schemas);
    add::<api::OwnPassword>(&mut schemas);
    add::<api::EnrolTotp>(&mut schemas);
    add::<api::TotpSecret>(&mut schemas);
    add::<api::ConfirmTotp>(&mut schemas);
    add::<api::RecoveryCodes>(&mut schemas);
    add::<api::DisableTotp>(&mut schemas);
    add::<api::NewPassword>(&mut schemas);
    add::<api::Register>(&mut schemas);
    add::<api::User>(&mut schemas);
    add::<api::UserInfo>(&mut schemas);
    add::<api::UserChanged>(&mut schemas);
    add::<api::UserPatch>(&mut schemas);
    add::<api::ApiToken>(&mut schemas);
    add::<api::ApiTokenMade>(&mut schemas);
    add::<api::NewApiToken>(&mut schemas);
    add::<api::RotateApiToken>(&mut schemas);
    add::<common::grant::GrantBody>(&mut schemas);
    add::<api::RoleInfo>(&mut schemas);
    add::<api::ModelRow>(&mut schemas);
    add::<api::ModelInfo>(&mut schemas);
    add::<api::ModelChanged>(&mut schemas);
    add::<api::ModelPatch>(&mut schemas);
    add::<api::VersionInfo>(&mut schemas);
    add::<api::Card>(&mut schemas);
    add::<api::VersionChanged>(&mut schemas);
    add::<api::VersionPatch>(&mut schemas);
    add::<api::Published>(&mut schemas);
    add::<api::Reason>(&mut schemas);
    add::<api::Release>(&mut schemas);
    add::<api::Rescanned>(&mut schemas);
    add::<api::QuarantineItem>(&mut schemas);
    add::<api::ReviewInfo>(&mut schemas);
    add::<api::NewNote>(&mut schemas);
    add::<api::NoteAdded>(&mut schemas);
    add::<api::Excerpt>(&mut schemas);
    add::<api::ScanRules>(&mut schemas);
    add::<api::Deleted>(&mut schemas);
    add::<api::AliasSet>(&mut schemas);
    add::<api::AliasChanged>(&mut schemas);
    add::<api::AliasEvent>(&mut schemas);
    add::<api::AsOf>(&mut schemas);
    add::<api::UploadInfo>(&mut schemas);
    add::<api::IngestPage>(&mut schemas);
    add::<api::IngestItem>(&mut schemas);
    add::<api::IngestChanged>(&mut schemas);
    add::<api::IntakeChanged>(&mut schemas);
    add::<api::IngestResume>(&mut schemas);
    add::<api::NewWebhook>(&mut schemas);
    add::<api::Webhook>(&mut schemas);
    add::<api::WebhookAttempt>(&mut schemas);
    add::<api::WebhookChanged>(&mut schemas);
    add::<api::WebhookPatch>(&mut schemas);
    add::<api::WebhookReplay>(&mut schemas);
    add::<api::WebhookRotate>(&mut schemas);
    add::<api::WebhookSecret>(&mut schemas);
    add::<api::WebhookTried>(&mut schemas);
    add::<api::AuditRow>(&mut schemas);
    add::<api::AuditEntry>(&mut schemas);
    add::<api::AuditPosition>(&mut schemas);
    add::<api::AcknowledgeAlarm>(&mut schemas);
    add::<api::AlarmAcknowledged>(&mut schemas);
    add::<api::BuildInfo>(&mut schemas);
    add::<api::Ready>(&mut schemas);
    add::<api::Status>(&mut schemas);
    add::<api::RotateLogKey>(&mut schemas);
    add::<api::LogKeyRotated>(&mut schemas);
    add::<api::CheckRequest>(&mut schemas);
    add::<api::gc::GcRequest>(&mut schemas);
    add::<api::retention::RetentionRule>(&mut schemas);
    add::<api::retention::RetentionRuleInfo>(&mut schemas);
    add::<api::retention::RetentionRuleChanged>(&mut schemas);
    add::<api::retention::RetentionPreview>(&mut schemas);
    add::<api::quota::QuotaInfo>(&mut schemas);
    add::<api::quota::QuotaLimits>(&mut schemas);
    add::<api::quota::QuotaChanged>(&mut schemas);
    add::<api::BackupReport>(&mut schemas);
    for (page, row) in [
        ("RolePage", "RoleInfo"),
        ("UserPage", "User"),
        ("ApiTokenPage", "ApiToken"),
        ("QuotaPage", "QuotaInfo"),
        ("RetentionRulePage", "RetentionRuleInfo"),
        ("ModelPage", "ModelRow"),
        ("VersionPage", "VersionInfo"),
        ("AliasEventPage", "AliasEvent"),
        ("QuarantinePage", "QuarantineItem"),
        ("UploadPage", "UploadInfo"),
        ("WebhookPage", "Webhook"),
        ("WebhookAttemptPage", "WebhookAttempt"),
        ("AuditPage", "AuditRow"),
    ] {
        schemas.insert(page.to_owned(), page_of(row));
    }
    schemas.insert("PublishForm".to_owned(), publish_form());
    schemas.insert(
        "Index".to_owned(),
        json!({
            "type": "object",
            "description": "Answer of `GET /`.",
            "required": ["name", "version", "docs", "openapi"],
            "properties": {
                "name": {"type": "string", "const": "mregd"},
                "version": {"type": "string", "description": "The daemon's version."},
                "docs": {"type": "string", "description": "Path of the documentation."},
                "openapi": {"type": "string", "description": "Path of this description."},
            },
        }),
    );
    schemas.insert(
        "OpenApi".to_owned(),
        json!({
            "type": "object",
            "description": "An OpenAPI 3.1 document.",
            "required": ["openapi", "info", "paths"],
        }),
    );
    Value::Object(schemas)
}

/// Adds a wire type and all it refers to.
fn add<T: ToSchema>(schemas: &mut Map<String, Value>) {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    for (name, schema) in found {
        let schema = serde_json::to_value(schema).expect("a schema is plain JSON");
        schemas.insert(name, schema);
    }
}

fn page_of(row: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("A page of a list of `{row}`."),
        "required": ["items", "total", "next_cursor"],
        "properties": {
            "items": {"type": "array", "items": reference(row)},
            "total": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "How many rows the whole list has; null where counting them would mean reading all of it.",
            },
            "next_cursor": {
                "type": ["string", "null"],
                "description": "Give it as `cursor` to get the next page; null at the end.",
            },
        },
    })
}

/// The parts of `POST /models`; `http/upload.rs` reads them.
fn publish_form() -> Value {
    json!({
        "type": "object",
        "description": "One or more files, and what is said about them, in any order.",
        "anyOf": [{"required": ["file"]}, {"required": ["upload_id"]}],
        "additionalProperties": false,
        "properties": {
            "upload_id": {
                "type": "array",
                "description": "Ids of complete resumable uploads of one's own, each a file.",
                "items": {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
            },
            "file": {
                "type": "array",
                "description": "The files; each part has a `filename`, a relative path with its folders.",
                "items": octets("application/octet-stream"),
            },
            "name": {
                "type": "string",
                "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$",
                "description": "The model's name; without it the first file's stem.",
            },
            "version": {
                "type": "integer",
                "minimum": 1,
                "maximum": 4_294_967_295_u32,
                "description": "The number the version must get; without it the next one.",
            },
            "description": {"type": "string", "maxLength": 16_384, "description": "What this version is."},
            "tags": {
                "type": "string",
                "description": "Tags to set on the model: a JSON object of texts, or `k:v,k2:v2`.",
            },
            "metadata": {
                "type": "string",
                "contentMediaType": "application/json",
                "description": "A JSON object of facts you claim, at most 64 KiB.",
            },
            "alias": {
                "type": "string",
                "pattern": "^[A-Za-z][A-Za-z0-9._-]{0,63}$",
                "description": "An alias to point at the version.",
            },
            "sha256": {
                "type": "string",
                "pattern": "^(sha256:)?[0-9a-fA-F]{64}$",
                "description": "The digest the bytes must have; for an upload of one file.",
            },
            "force_new_version": {
                "type": "boolean",
                "description": "Make a version even if the latest has the same bytes.",
            },
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{Route, TAGS, document};

    /// Calls `visit` with every object in a value.
    fn walk(value: &Value, visit: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
        match value {
            Value::Object(object) => {
                visit(object);
                object.values().for_each(|value| walk(value, visit));
            }
            Value::Array(array) => array.iter().for_each(|value| walk(value, visit)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_endpoint_is_described_and_nothing_else() {
        let document = document();
        let mut described = BTreeSet::new();
        for (template, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(described.insert((method.to_uppercase(), template.clone(), id)));
            }
        }
        let table: BTreeSet<_> = Route::ALL
            .iter()
            .map(|endpoint| (endpoint.method.to_owned(), endpoint.template.to_owned(), endpoint.id.to_owned()))
            .collect();
        assert_eq!(described, table);
        let ids: BTreeSet<_> = Route::ALL.iter().map(|endpoint| endpoint.id).collect();
        assert_eq!(ids.len(), Route::ALL.len(), "operation ids are unique");
    }

    #[test]
    fn every_reference_resolves_and_every_schema_is_used() {
        let document = document();
        let mut used = BTreeSet::new();
        walk(&document, &mut |object| {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                used.insert(pointer.to_owned());
            }
        });
        for group in ["schemas", "headers", "responses"] {
            for name in document["components"][group].as_object().unwrap().keys() {
                assert!(used.contains(&format!("/components/{group}/{name}")), "nothing uses {name}");
            }
        }
    }

    #[test]
    fn operations_are_whole() {
        let document = document();
        for endpoint in Route::ALL {
            let operation = &document["paths"][endpoint.template][endpoint.method.to_ascii_lowercase()];
            let in_path: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| {
                    assert_eq!(parameter["required"], true);
                    parameter["name"].as_str().unwrap()
                })
                .collect();
            let in_template: BTreeSet<&str> = endpoint
                .template
                .split('/')
                .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(in_path, in_template, "{}", endpoint.id);
            assert!(TAGS.iter().any(|(tag, _)| *tag == endpoint.tag), "{}", endpoint.tag);
            assert!(!endpoint.summary.is_empty() && !endpoint.answers.is_empty(), "{}", endpoint.id);
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = match response.get("$ref").and_then(Value::as_str) {
                    Some(reference) => document.pointer(&reference[1..]).unwrap(),
                    None => response,
                };
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()));
                let has_body = response.get("content").is_some();
                assert_eq!(has_body, !["204", "304", "307"].contains(&status.as_str()), "{} {status}", endpoint.id);
            }
        }
    }
}
