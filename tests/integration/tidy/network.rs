//! Data never leaves the machine: nothing that is linked can open a connection by itself.

use super::{Findings, assert_none};
use std::process::Command;

/// HTTP, TLS and QUIC implementations, and what is built on them.
const CLIENTS: [&str; 22] = [
    "async-tls",
    "aws-lc-rs",
    "boring",
    "curl",
    "curl-sys",
    "h2",
    "hickory-resolver",
    "hyper",
    "isahc",
    "native-tls",
    "object_store",
    "openssl",
    "openssl-sys",
    "quinn",
    "reqwest",
    "rustls",
    "surf",
    "tokio-rustls",
    "tonic",
    "tungstenite",
    "ureq",
    "webpki-roots",
];

/// The network clients in the output of `cargo tree --prefix none`: one `name vVERSION ...` a line.
fn clients(tree: &str) -> Findings {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| CLIENTS.contains(name)).map(|name| format!("a network client is linked: {name}")).collect()
}

#[test]
fn no_network_client_is_linked() {
    let Some(cargo) = std::env::var_os("CARGO") else {
        eprintln!("not checked: these tests were not started by cargo");
        return;
    };
    let tree = Command::new(cargo)
        .args(["tree", "--package", "synthward", "--edges", "normal", "--prefix", "none", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.lines().any(|line| line.starts_with("synthward-privacy ")), "the tree is not ours:\n{tree}");
    assert_none(clients(&tree));
}

#[test]
fn a_linked_client_is_found() {
    assert_eq!(clients("synthward v0.1.0 (/x)\nserde v1.0.0\nrustls v0.23.1 (*)\n").len(), 1);
    assert_eq!(clients("synthward v0.1.0\nhyperloglog v1.0.0\n"), Findings::new());
}
