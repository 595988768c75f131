//! `mregd migrate`: the log into a database that several daemons share, and back. Only on the stopped registry. Knows what is
//! asked and told; refuses to know how a log is copied.

use crate::cli::{Exit, MigrateOptions};
use crate::commands::{Failed, say};
use crate::config::Config;
use crate::config::database::{DatabaseAddress, SharedDatabase};
use crate::store::sled::{Copied, copy_from, copy_to};

pub(super) fn migrate(config: &Config, options: MigrateOptions) -> Result<(), Failed> {
    let dry = options.dry_run;
    let directory = config.data_dir.display();
    let database = |address| SharedDatabase { address, password: config.database_password.clone() };
    match (options.to, options.from) {
        (Some(address), None) => {
            let database = database(resolved(address)?);
            let copied = copy_to(&crate::store_options(config), &database, dry)?;
            let then = format!(
                "Set MREG_DATABASE={} for every daemon that shares the log; {directory} is a replica of it now.\n",
                database.address
            );
            say(&text(&copied, "copied and read back", dry, &then))
        }
        (None, Some(address)) => {
            let database = database(resolved(address)?);
            let copied = copy_from(&crate::store_options(config), &database, dry)?;
            let then =
                format!("The log in the database has ended. Unset MREG_DATABASE: {directory} goes on with it alone.\n");
            say(&text(&copied, "taken over and compared", dry, &then))
        }
        _ => Err(Failed::new(Exit::Usage, "--to or --from, and not both")),
    }
}

/// With paths seen from where the command was given.
fn resolved(address: DatabaseAddress) -> Result<DatabaseAddress, Failed> {
    let here = std::env::current_dir()
        .map_err(|error| Failed::new(Exit::Io, format_args!("the working directory can't be found: {error}")))?;
    Ok(address.resolved(|path| here.join(path)))
}

fn text(copied: &Copied, done: &str, dry: bool, then: &str) -> String {
    let Copied { origin, size, root, state } = copied;
    let (done, then) = if dry { ("would be copied; nothing was written", "") } else { (done, then) };
    format!(
        "log:     {origin}\nentries: {size}\nroot:    {root}\nstate:   sha256:{}\n{done}\n{then}",
        hex::encode(state)
    )
}
