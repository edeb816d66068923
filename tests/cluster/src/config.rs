//! A node's configuration file.
//!
//! In scope: its text, names of nodes, free ports. Out of scope: accounts and permissions, which a file of the caller's
//! says. Durations are quoted: a bare `2m` would be read as a number of mega-nanoseconds. Sizes are not: a quoted one is
//! refused.

use std::fmt::Write as _;
use std::io;
use std::net::TcpListener;
use std::path::{Component, Path};

use crate::Options;

/// The configuration's name in a node's folder.
pub(crate) const FILE: &str = "nats.conf";
/// The folder of JetStream in a node's folder.
pub(crate) const STORE: &str = "store";

/// What a node listens on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) client: u16,
    pub(crate) monitor: u16,
    pub(crate) route: u16,
}

/// A node's name.
pub(crate) fn name(node: usize) -> String {
    format!("n{}", node + 1)
}

/// The node of this name.
pub(crate) fn number(name: &str) -> Option<usize> {
    name.strip_prefix('n')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Ports that nobody listens on now.
pub(crate) fn free_ports(nodes: usize) -> io::Result<Vec<Ports>> {
    // All are held until the last is found, so that none is found twice.
    let held: Vec<TcpListener> = (0..nodes * 3)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<io::Result<_>>()?;
    let ports: Vec<u16> = held
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<io::Result<_>>()?;
    let of_node = |three: &[u16]| Ports {
        client: three[0],
        monitor: three[1],
        route: three[2],
    };
    Ok(ports.chunks_exact(3).map(of_node).collect())
}

/// The configuration of the node `number`, to lie in `home`.
pub(crate) fn text(options: &Options, ports: &[Ports], number: usize, home: &Path) -> io::Result<String> {
    let Ports {
        client,
        monitor,
        route,
    } = ports[number];
    let mut text = format!(
        "server_name: \"{}\"\nlisten: \"127.0.0.1:{client}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
         max_payload: 2MB\nmax_pending: 256MB\nwrite_deadline: \"10s\"\n",
        name(number)
    );
    if let Some(accounts) = &options.accounts {
        let path = included(home, &accounts.canonicalize()?)?;
        line(&mut text, format_args!("include \"{path}\""));
    }
    let sync = if options.sync_always { "always" } else { "\"2m\"" };
    let store = home.join(STORE);
    let store = utf8(&store)?;
    line(
        &mut text,
        format_args!("jetstream {{\n  store_dir: \"{store}\"\n  sync_interval: {sync}\n}}"),
    );
    if ports.len() > 1 {
        let routes: Vec<String> = ports
            .iter()
            .map(|ports| format!("\"nats://127.0.0.1:{}\"", ports.route))
            .collect();
        let routes = routes.join(", ");
        line(
            &mut text,
            format_args!(
                "cluster {{\n  name: \"sharetrail\"\n  listen: \"127.0.0.1:{route}\"\n  routes: [{routes}]\n}}"
            ),
        );
    }
    for extra in &options.lines {
        line(&mut text, format_args!("{extra}"));
    }
    Ok(text)
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes any text");
}

/// The path of a file to include. The server takes any path, an absolute one too, as relative to the including file's
/// folder.
fn included(home: &Path, file: &Path) -> io::Result<String> {
    let named = |path: &Path| {
        path.components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .count()
    };
    let up = "../".repeat(named(home));
    let down = utf8(file)?.trim_start_matches('/');
    Ok(format!("{up}{down}"))
}

fn utf8(path: &Path) -> io::Result<&str> {
    let complaint = || io::Error::new(io::ErrorKind::InvalidInput, "a path that is not UTF-8");
    path.to_str().ok_or_else(complaint)
}
