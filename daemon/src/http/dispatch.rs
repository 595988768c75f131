//! From a route to its handler: every endpoint, one line each.
//! What a handler does is in the file of its resource.

use crate::http::params::Nothing;
use crate::http::route::Route;
use crate::http::{
    Answer, Call, aliases, audit, backup, body, check, download, gc, health, ingest, inspection, keys, log, login,
    models, pages, quotas, retention, tokens, tus, upload, users, versions, webhooks,
};

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
        Route::Live => health::live(&call).await,
        Route::Ready => health::ready(&call).await,
        Route::Metrics => health::metrics(&call).await,
        Route::BuildInfo => health::build_info(&call).await,
        Route::Status => health::status(&call).await,

        Route::Login => login::login(call).await,
        Route::Refresh => login::refresh(&call).await,
        Route::Logout => login::logout(&call).await,
        Route::Me => login::me(&call).await,
        Route::ChangeOwnPassword => login::change_own_password(call).await,
        Route::EnrolTotp => login::enrol_totp(call).await,
        Route::ConfirmTotp => login::confirm_totp(call).await,
        Route::DisableTotp => login::disable_totp(call).await,
        Route::Register => users::register(call).await,
        Route::ListRoles => users::roles(),
        Route::ListUsers => users::list(&call).await,
        Route::ShowUser { name } => users::show(&call, name).await,
        Route::PatchUser { name } => users::patch(call, name).await,
        Route::DeleteUser { name } => users::delete(&call, name).await,
        Route::RevokeSessions { name } => users::revoke_sessions(&call, name).await,
        Route::SetPassword { name } => users::set_password(call, name).await,
        Route::ResetTotp { name } => users::reset_totp(&call, name).await,

        Route::ListTokens => tokens::list(&call).await,
        Route::CreateToken => tokens::create(call).await,
        Route::ShowToken { token } => tokens::show(&call, token).await,
        Route::RevokeToken { token } => tokens::revoke(&call, token).await,
        Route::RotateToken { token } => tokens::rotate(call, token).await,

        Route::ShowOwnQuota => quotas::own(&call).await,
        Route::ListQuotas => quotas::list(&call).await,
        Route::ShowQuota { kind, account } => quotas::show(&call, kind, account).await,
        Route::SetQuota { kind, account } => quotas::set(call, kind, account).await,
        Route::ClearQuota { kind, account } => quotas::clear(&call, kind, account).await,

        Route::ListRetention => retention::list(&call).await,
        Route::PreviewUnsaved => retention::preview_unsaved(call).await,
        Route::ShowRetention { rule } => retention::show(&call, rule).await,
        Route::SetRetention { rule } => retention::set(call, rule).await,
        Route::DeleteRetention { rule } => retention::delete(&call, rule).await,
        Route::PreviewRetention { rule } => retention::preview(&call, rule).await,
        Route::RunRetention { rule } => retention::run(&call, rule).await,

        Route::ListModels => models::list(&call).await,
        Route::Publish => upload::form(call).await,
        Route::PublishFile { name } => upload::file(call, name).await,
        Route::ShowModel { model } => models::show(&call, model).await,
        Route::PatchModel { model } => models::patch(call, model).await,
        Route::DeleteModel { model } => models::delete(&call, model).await,
        Route::RestoreModel { model } => models::restore(&call, model).await,
        Route::ListVersions { model } => versions::list(&call, model).await,
        Route::ShowVersion { model, version } => versions::show(&call, model, version).await,
        Route::ShowCard { model, version } => versions::card(&call, model, version).await,
        Route::PatchVersion { model, version } => versions::patch(call, model, version).await,
        Route::DeleteVersion { model, version } => versions::delete(&call, model, version).await,
        Route::RestoreVersion { model, version } => versions::restore(&call, model, version).await,
        Route::ReleaseVersion { model, version } => versions::release(call, model, version).await,
        Route::QuarantineVersion { model, version } => versions::quarantine(call, model, version).await,
        Route::BlockVersion { model, version } => versions::block(call, model, version).await,
        Route::RescanVersion { model, version } => versions::rescan(&call, model, version).await,
        Route::ShowReview { model, version } => inspection::review(&call, model, version).await,
        Route::AddNote { model, version } => inspection::add_note(call, model, version).await,
        Route::ShowExcerpt { model, version } => inspection::excerpt(&call, model, version).await,
        Route::ListQuarantine => inspection::quarantine(&call).await,
        Route::ListScanRules => inspection::rules(&call).await,
        Route::DeprecateVersion { model, version } => versions::deprecate(call, model, version).await,
        Route::Download { model } => download::download(&call, model, None, None).await,
        Route::DownloadVersion { model, version } => download::download(&call, model, Some(version), None).await,
        Route::DownloadFile { model, version, path } => {
            download::download(&call, model, Some(version), Some(path)).await
        }
        Route::SetAlias { model, alias } => aliases::set(call, model, alias).await,
        Route::ClearAlias { model, alias } => aliases::clear(&call, model, alias).await,
        Route::AliasHistory { model, alias } => aliases::history(&call, model, alias).await,

        Route::UploadOptions | Route::UploadOptionsOf { .. } => tus::options(&call),
        Route::ListUploads => tus::list(&call).await,
        Route::CreateUpload => tus::create(call).await,
        Route::ShowUpload { upload } => tus::show(&call, upload).await,
        Route::AppendUpload { upload } => tus::append(call, upload).await,
        Route::EndUpload { upload } => tus::end(&call, upload).await,

        Route::ListIngest => ingest::list(&call).await,
        Route::ShowIngest { item } => ingest::show(&call, item).await,
        Route::RetryIngest { item } => ingest::retry(&call, item).await,
        Route::DiscardIngest { item } => ingest::discard(call, item).await,
        Route::PauseIngest => ingest::pause(call).await,
        Route::ResumeIngest => ingest::resume(call).await,

        Route::ListWebhooks => webhooks::list(&call).await,
        Route::CreateWebhook => webhooks::create(call).await,
        Route::ShowWebhook { hook } => webhooks::one(&call, hook).await,
        Route::PatchWebhook { hook } => webhooks::patch(call, hook).await,
        Route::DeleteWebhook { hook } => webhooks::delete(&call, hook).await,
        Route::TestWebhook { hook } => webhooks::test(&call, hook).await,
        Route::RotateWebhookSecret { hook } => webhooks::rotate(call, hook).await,
        Route::ReplayWebhook { hook } => webhooks::replay(call, hook).await,
        Route::ListDeliveries { hook } => webhooks::deliveries(&call, hook).await,
        Route::ReplayDelivery { hook, delivery } => webhooks::redeliver(&call, hook, delivery).await,

        Route::ListAudit => audit::list(&call).await,
        Route::StreamAudit => audit::tail::follow(call).await,
        Route::LocateAudit => audit::locate(&call).await,
        Route::AcknowledgeAlarm => audit::acknowledge(call).await,
        Route::ShowAuditEntry { index } => audit::show(&call, index).await,
        Route::LogCheckpoint => log::checkpoint(&call),
        Route::LogWitnessed => log::witnessed(&call),
        Route::LogVkeys => log::vkeys(&call),
        Route::LogTile { tile } => log::tile(&call, *tile).await,
        Route::LogBundle { bundle } => log::bundle(&call, *bundle).await,
        Route::LogConsistency { old, new } => log::consistency(&call, old, new).await,
        Route::LogProof { index } => log::proof(&call, index).await,
        Route::RotateLogKey => keys::rotate_key(call).await,
        Route::Check => check::check(call).await,
        Route::Collect => gc::collect(call).await,
        Route::HoldBackup => backup::hold(call).await,
        Route::ReportBackup => backup::report(call).await,
    }
}
