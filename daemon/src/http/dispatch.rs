//! From a route to its handler: every endpoint, one line each.
//! What a handler does is in the file of its resource.

use futures_util::future::BoxFuture;

use crate::http::params::Nothing;
use crate::http::route::Route;
use crate::http::{
    Answer, Call, aliases, audit, backup, body, check, download, gc, health, ingest, inspection, keys, log, login,
    models, pages, quotas, retention, tokens, tus, upload, users, versions, webhooks,
};

/// A handler's work, in memory of its own: all of them as one future would have the size of the largest, which is moved several
/// times with every request.
fn boxed<'h>(work: impl Future<Output = Answer> + Send + 'h) -> BoxFuture<'h, Answer> {
    Box::pin(work)
}

/// Answers a call that was admitted.
pub(crate) async fn dispatch(call: Call, route: &Route) -> Answer {
    if route.endpoint().takes_no_query() {
        let Nothing {} = body::query(&call)?;
    }
    match route {
        Route::Index => pages::index(&call),
        Route::OpenApi => pages::openapi(&call),
        Route::Docs { asset } => pages::asset(&call, "/docs", asset),
        Route::Redoc { asset } => pages::asset(&call, "/redoc", asset),
        Route::Problems => pages::problems(),
        Route::Problem { slug } => pages::problem(slug),
        Route::Live => boxed(health::live(&call)).await,
        Route::Ready => boxed(health::ready(&call)).await,
        Route::Metrics => boxed(health::metrics(&call)).await,
        Route::BuildInfo => boxed(health::build_info(&call)).await,
        Route::Status => boxed(health::status(&call)).await,

        Route::Login => boxed(login::login(call)).await,
        Route::Refresh => boxed(login::refresh(&call)).await,
        Route::Logout => boxed(login::logout(&call)).await,
        Route::Me => boxed(login::me(&call)).await,
        Route::ChangeOwnPassword => boxed(login::change_own_password(call)).await,
        Route::EnrolTotp => boxed(login::enrol_totp(call)).await,
        Route::ConfirmTotp => boxed(login::confirm_totp(call)).await,
        Route::DisableTotp => boxed(login::disable_totp(call)).await,
        Route::Register => boxed(users::register(call)).await,
        Route::ListRoles => users::roles(),
        Route::ListUsers => boxed(users::list(&call)).await,
        Route::ShowUser { name } => boxed(users::show(&call, name)).await,
        Route::PatchUser { name } => boxed(users::patch(call, name)).await,
        Route::DeleteUser { name } => boxed(users::delete(&call, name)).await,
        Route::RevokeSessions { name } => boxed(users::revoke_sessions(&call, name)).await,
        Route::SetPassword { name } => boxed(users::set_password(call, name)).await,
        Route::ResetTotp { name } => boxed(users::reset_totp(&call, name)).await,

        Route::ListTokens => boxed(tokens::list(&call)).await,
        Route::CreateToken => boxed(tokens::create(call)).await,
        Route::ShowToken { token } => boxed(tokens::show(&call, token)).await,
        Route::RevokeToken { token } => boxed(tokens::revoke(&call, token)).await,
        Route::RotateToken { token } => boxed(tokens::rotate(call, token)).await,

        Route::ShowOwnQuota => boxed(quotas::own(&call)).await,
        Route::ListQuotas => boxed(quotas::list(&call)).await,
        Route::ShowQuota { kind, account } => boxed(quotas::show(&call, kind, account)).await,
        Route::SetQuota { kind, account } => boxed(quotas::set(call, kind, account)).await,
        Route::ClearQuota { kind, account } => boxed(quotas::clear(&call, kind, account)).await,

        Route::ListRetention => boxed(retention::list(&call)).await,
        Route::PreviewUnsaved => boxed(retention::preview_unsaved(call)).await,
        Route::ShowRetention { rule } => boxed(retention::show(&call, rule)).await,
        Route::SetRetention { rule } => boxed(retention::set(call, rule)).await,
        Route::DeleteRetention { rule } => boxed(retention::delete(&call, rule)).await,
        Route::PreviewRetention { rule } => boxed(retention::preview(&call, rule)).await,
        Route::RunRetention { rule } => boxed(retention::run(&call, rule)).await,

        Route::ListModels => boxed(models::list(&call)).await,
        Route::DeleteModels => boxed(models::bulk::delete(&call)).await,
        Route::RestoreModels => boxed(models::bulk::restore(&call)).await,
        Route::Publish => boxed(upload::form(call)).await,
        Route::PublishFile { name } => boxed(upload::file(call, name)).await,
        Route::ShowModel { model } => boxed(models::show(&call, model)).await,
        Route::PatchModel { model } => boxed(models::patch(call, model)).await,
        Route::DeleteModel { model } => boxed(models::delete(&call, model)).await,
        Route::RestoreModel { model } => boxed(models::restore(&call, model)).await,
        Route::ListVersions { model } => boxed(versions::list(&call, model)).await,
        Route::ShowVersion { model, version } => boxed(versions::show(&call, model, version)).await,
        Route::ShowCard { model, version } => boxed(versions::card(&call, model, version)).await,
        Route::PatchVersion { model, version } => boxed(versions::patch(call, model, version)).await,
        Route::DeleteVersion { model, version } => boxed(versions::delete(&call, model, version)).await,
        Route::RestoreVersion { model, version } => boxed(versions::restore(&call, model, version)).await,
        Route::ReleaseVersion { model, version } => boxed(versions::release(call, model, version)).await,
        Route::QuarantineVersion { model, version } => boxed(versions::quarantine(call, model, version)).await,
        Route::BlockVersion { model, version } => boxed(versions::block(call, model, version)).await,
        Route::RescanVersion { model, version } => boxed(versions::rescan(&call, model, version)).await,
        Route::ShowReview { model, version } => boxed(inspection::review(&call, model, version)).await,
        Route::AddNote { model, version } => boxed(inspection::add_note(call, model, version)).await,
        Route::ShowExcerpt { model, version } => boxed(inspection::excerpt(&call, model, version)).await,
        Route::ListQuarantine => boxed(inspection::quarantine(&call)).await,
        Route::ListScanRules => boxed(inspection::rules(&call)).await,
        Route::DeprecateVersion { model, version } => boxed(versions::deprecate(call, model, version)).await,
        Route::Download { model } => boxed(download::download(&call, model, None, None)).await,
        Route::DownloadVersion { model, version } => boxed(download::download(&call, model, Some(version), None)).await,
        Route::DownloadFile { model, version, path } => {
            boxed(download::download(&call, model, Some(version), Some(path))).await
        }
        Route::SetAlias { model, alias } => boxed(aliases::set(call, model, alias)).await,
        Route::ClearAlias { model, alias } => boxed(aliases::clear(&call, model, alias)).await,
        Route::AliasHistory { model, alias } => boxed(aliases::history(&call, model, alias)).await,

        Route::UploadOptions | Route::UploadOptionsOf { .. } => tus::options(&call),
        Route::ListUploads => boxed(tus::list(&call)).await,
        Route::CreateUpload => boxed(tus::create(call)).await,
        Route::ShowUpload { upload } => boxed(tus::show(&call, upload)).await,
        Route::AppendUpload { upload } => boxed(tus::append(call, upload)).await,
        Route::EndUpload { upload } => boxed(tus::end(&call, upload)).await,

        Route::ListIngest => boxed(ingest::list(&call)).await,
        Route::ShowIngest { item } => boxed(ingest::show(&call, item)).await,
        Route::RetryIngest { item } => boxed(ingest::retry(&call, item)).await,
        Route::DiscardIngest { item } => boxed(ingest::discard(call, item)).await,
        Route::PauseIngest => boxed(ingest::pause(call)).await,
        Route::ResumeIngest => boxed(ingest::resume(call)).await,

        Route::ListWebhooks => boxed(webhooks::list(&call)).await,
        Route::CreateWebhook => boxed(webhooks::create(call)).await,
        Route::ShowWebhook { hook } => boxed(webhooks::one(&call, hook)).await,
        Route::PatchWebhook { hook } => boxed(webhooks::patch(call, hook)).await,
        Route::DeleteWebhook { hook } => boxed(webhooks::delete(&call, hook)).await,
        Route::TestWebhook { hook } => boxed(webhooks::test(&call, hook)).await,
        Route::RotateWebhookSecret { hook } => boxed(webhooks::rotate(call, hook)).await,
        Route::ReplayWebhook { hook } => boxed(webhooks::replay(call, hook)).await,
        Route::ListDeliveries { hook } => boxed(webhooks::deliveries(&call, hook)).await,
        Route::ReplayDelivery { hook, delivery } => boxed(webhooks::redeliver(&call, hook, delivery)).await,

        Route::ListAudit => boxed(audit::list(&call)).await,
        Route::StreamAudit => boxed(audit::tail::follow(call)).await,
        Route::LocateAudit => boxed(audit::locate(&call)).await,
        Route::AcknowledgeAlarm => boxed(audit::acknowledge(call)).await,
        Route::ShowAuditEntry { index } => boxed(audit::show(&call, index)).await,
        Route::LogCheckpoint => log::checkpoint(&call),
        Route::LogWitnessed => log::witnessed(&call),
        Route::LogVkeys => log::vkeys(&call),
        Route::LogTile { tile } => boxed(log::tile(&call, *tile)).await,
        Route::LogBundle { bundle } => boxed(log::bundle(&call, *bundle)).await,
        Route::LogConsistency { old, new } => boxed(log::consistency(&call, old, new)).await,
        Route::LogProof { index } => boxed(log::proof(&call, index)).await,
        Route::RotateLogKey => boxed(keys::rotate_key(call)).await,
        Route::Check => boxed(check::check(call)).await,
        Route::Collect => boxed(gc::collect(call)).await,
        Route::HoldBackup => boxed(backup::hold(call)).await,
        Route::ReportBackup => boxed(backup::report(call)).await,
    }
}
