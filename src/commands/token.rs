//! `greylight token`: makes a token and the line that lets it in.

use greylight_store::model::{OsRandom, Random, Scope, TenantId};

use super::exit;
use crate::auth;
use crate::cli::Token;

/// Prints a new token and its line for the configuration; nothing is stored.
pub(crate) fn run(args: Token) -> anyhow::Result<u8> {
    let tenant = TenantId::new(&args.tenant)?;
    for word in &args.scopes {
        let known = || Scope::ALL.map(Scope::as_str).join(", ");
        anyhow::ensure!(Scope::parse(word).is_some(), "no scope is called {word:?}; there are {}", known());
    }
    let token = format!("glt_{:016x}{:016x}", OsRandom.next_u64(), OsRandom.next_u64());
    let scopes: Vec<String> = args.scopes.iter().map(|s| format!("\"{s}\"")).collect();
    println!("token (shown once): {token}");
    println!("line for [auth] tokens:");
    println!(
        "  {{ hash = \"{}\", tenant = \"{tenant}\", scopes = [{}] }},",
        auth::hash(&token),
        scopes.join(", ")
    );
    Ok(exit::OK)
}
