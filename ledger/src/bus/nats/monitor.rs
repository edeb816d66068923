//! What the servers' monitoring tells about settings that lose data, and about replicas that differ.
//!
//! In scope: `/varz` and `/jsz` of every node. Out of scope: changing anything. Trust: the monitor is believed; where it
//! does not answer for every node, the answer is "cannot check".

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;

use super::names::BusNames;

const WAIT: Duration = Duration::from_secs(5);
/// A cluster with thousands of streams fits in this.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Longer than anybody would write on purpose: a duration without quotes.
const SURELY_A_SLIP_S: u64 = 86_400;
/// Folders that are emptied at a restart of the machine.
const SHORT_LIVED: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

/// What one replica of a stream says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReplicaState {
    /// The node's name.
    pub node: String,
    /// The first message's position.
    pub first: u64,
    /// The last message's position.
    pub last: u64,
    /// How many messages it holds.
    pub messages: u64,
    /// How many between first and last are not there.
    pub deleted: u64,
    /// Whether it leads.
    pub leader: bool,
    /// Whether the leader takes it for up to date.
    pub current: bool,
    /// How many steps it is behind, as the leader says.
    pub lag: u64,
}

#[derive(Deserialize)]
struct Varz {
    #[serde(default)]
    server_name: String,
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Deserialize, Default)]
struct JetStream {
    #[serde(default)]
    config: Option<JetStreamConfig>,
}

#[derive(Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    store_dir: String,
    /// Nanoseconds.
    #[serde(default)]
    sync_interval: u64,
    #[serde(default)]
    sync_always: bool,
}

#[derive(Deserialize)]
struct Jsz {
    #[serde(default)]
    meta_cluster: Option<MetaCluster>,
    #[serde(default)]
    account_details: Vec<Account>,
}

#[derive(Deserialize)]
struct MetaCluster {
    #[serde(default)]
    cluster_size: usize,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    #[serde(default)]
    cluster: Option<Cluster>,
    #[serde(default)]
    config: Config,
    state: State,
}

#[derive(Deserialize)]
struct Cluster {
    #[serde(default)]
    leader: String,
    #[serde(default)]
    replicas: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    lag: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    subjects: Vec<String>,
    retention: String,
    storage: String,
    discard: String,
    num_replicas: u8,
    max_msgs: i64,
    max_bytes: i64,
    max_age: i64,
    deny_delete: bool,
    deny_purge: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct State {
    first_seq: u64,
    last_seq: u64,
    messages: u64,
    num_deleted: u64,
}

/// One node's answers.
struct Node {
    name: String,
    config: Option<JetStreamConfig>,
    cluster_size: usize,
    streams: Vec<Stream>,
}

/// Reads all nodes; an error says which did not answer.
fn nodes(monitors: &[String]) -> Result<Vec<Node>, String> {
    if monitors.is_empty() {
        return Err("no monitor is set; write `monitor = \"http://HOST:8222\"` under [bus]".into());
    }
    let agent: Agent = Agent::config_builder().timeout_global(Some(WAIT)).build().into();
    monitors.iter().map(|monitor| node(&agent, monitor)).collect()
}

fn node(agent: &Agent, monitor: &str) -> Result<Node, String> {
    let varz: Varz = get(agent, &format!("{monitor}/varz"))?;
    let jsz: Jsz = get(agent, &format!("{monitor}/jsz?accounts=1&streams=1&config=1"))?;
    Ok(Node {
        name: varz.server_name,
        config: varz.jetstream.config,
        cluster_size: jsz.meta_cluster.map_or(1, |cluster| cluster.cluster_size),
        streams: jsz
            .account_details
            .into_iter()
            .flat_map(|account| account.stream_detail)
            .collect(),
    })
}

fn get<T: DeserializeOwned>(agent: &Agent, url: &str) -> Result<T, String> {
    let told = |error: ureq::Error| format!("{url} does not answer: {error}");
    let mut answer = agent.get(url).call().map_err(told)?;
    answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_json()
        .map_err(told)
}

fn all_are_watched(nodes: &[Node]) -> Result<(), String> {
    let size = nodes.iter().map(|node| node.cluster_size).max().unwrap_or(1);
    if nodes.len() < size {
        return Err(format!(
            "the monitor shows {} of {size} nodes; name all of them under [bus], comma separated",
            nodes.len()
        ));
    }
    Ok(())
}

/// Settings that would lose data, one line each.
pub(super) fn risks(
    monitors: &[String],
    names: &BusNames,
    shards: u32,
    replicas: u8,
) -> Result<Vec<String>, String> {
    let nodes = nodes(monitors)?;
    let mut risks: Vec<String> = nodes.iter().flat_map(node_risks).collect();
    let size = nodes.iter().map(|node| node.cluster_size).max().unwrap_or(1);
    if size >= 3 && replicas < 3 {
        risks.push(format!(
            "replicas = {replicas} on {size} nodes: whatever the one disk loses is lost; set `replicas = 3` under [bus]"
        ));
    }
    let mut seen: Vec<&str> = Vec::new();
    for stream in nodes.iter().flat_map(|node| &node.streams) {
        let ours = (0..shards).any(|shard| names.stream_number(shard, &stream.name).is_some());
        let bucket = stream.name == names.bucket_stream();
        if (ours || bucket) && !seen.contains(&stream.name.as_str()) {
            seen.push(&stream.name);
            risks.extend(stream_risks(stream, replicas));
        }
    }
    if let Err(unseen) = all_are_watched(&nodes) {
        if risks.is_empty() {
            return Err(unseen);
        }
        risks.push(unseen);
    }
    Ok(risks)
}

fn node_risks(node: &Node) -> Vec<String> {
    let Some(config) = &node.config else {
        return vec![format!("{}: JetStream is not enabled", node.name)];
    };
    let mut risks = Vec::new();
    if !config.sync_always {
        let seconds = config.sync_interval / 1_000_000_000;
        let slip = if seconds > SURELY_A_SLIP_S {
            " (`2m` without quotes means two million seconds)"
        } else {
            ""
        };
        risks.push(format!(
            "{}: what is acknowledged reaches the disk up to {} later; set `sync_interval: always`{slip}",
            node.name,
            duration(seconds)
        ));
    }
    let below = |folder: &&&str| {
        config
            .store_dir
            .strip_prefix(**folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(folder) = SHORT_LIVED.iter().find(below) {
        risks.push(format!(
            "{}: its store {} lies under {folder}, which a restart may empty; set another `store_dir`",
            node.name, config.store_dir
        ));
    }
    risks
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn stream_risks(stream: &Stream, replicas: u8) -> Vec<String> {
    let config = &stream.config;
    let faults = [
        (
            config.storage != "file",
            format!("its storage is {:?}, not file", config.storage),
        ),
        (
            config.num_replicas < replicas,
            format!("it has {} replicas, not {replicas}", config.num_replicas),
        ),
        (
            config.retention != "limits",
            format!("its retention is {:?}, not limits", config.retention),
        ),
        (
            config.max_msgs > 0 || config.max_bytes > 0 || config.max_age > 0,
            "it has a limit (max_msgs, max_bytes or max_age)".into(),
        ),
        (config.discard != "new", "it discards old messages".into()),
        (
            !config.deny_delete || !config.deny_purge,
            "messages may be deleted from it (deny_delete, deny_purge)".into(),
        ),
    ];
    faults
        .into_iter()
        .filter(|(there, _)| *there)
        .map(|(_, what)| format!("stream {}: {what}", stream.name))
        .collect()
}

/// What each replica of the shard's live stream says.
pub(super) fn agreement(
    monitors: &[String],
    names: &BusNames,
    shard: u32,
) -> Result<Vec<ReplicaState>, String> {
    let nodes = nodes(monitors)?;
    all_are_watched(&nodes)?;
    let takes_in = names.all_frames(shard);
    let live = |stream: &&Stream| {
        names.stream_number(shard, &stream.name).is_some() && stream.config.subjects.contains(&takes_in)
    };
    let replicas: Vec<(&Node, &Stream)> = nodes
        .iter()
        .filter_map(|node| Some((node, node.streams.iter().find(live)?)))
        .collect();
    if replicas.is_empty() {
        return Err(format!("no node shows a stream for {takes_in}"));
    }
    let peers = replicas.iter().find_map(|(node, stream)| {
        let cluster = stream.cluster.as_ref()?;
        (cluster.leader == node.name).then_some(&cluster.replicas)
    });
    let state = |(node, stream): &(&Node, &Stream)| {
        let leader = stream
            .cluster
            .as_ref()
            .is_none_or(|cluster| cluster.leader == node.name);
        let peer = peers.and_then(|peers| peers.iter().find(|peer| peer.name == node.name));
        ReplicaState {
            node: node.name.clone(),
            first: stream.state.first_seq,
            last: stream.state.last_seq,
            messages: stream.state.messages,
            deleted: stream.state.num_deleted,
            leader,
            current: leader || peer.is_some_and(|peer| peer.current),
            lag: peer.map_or(0, |peer| peer.lag),
        }
    };
    Ok(replicas.iter().map(state).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(config: &str) -> Node {
        Node {
            name: "n1".into(),
            config: Some(serde_json::from_str(config).unwrap()),
            cluster_size: 1,
            streams: Vec::new(),
        }
    }

    #[test]
    fn a_node_that_syncs_later_or_keeps_its_store_where_it_will_not_last_is_a_risk() {
        let good =
            r#"{"store_dir":"/var/lib/nats/jetstream","sync_interval":120000000000,"sync_always":true}"#;
        assert!(node_risks(&node(good)).is_empty());
        let late = r#"{"store_dir":"/tmpfiles","sync_interval":120000000000}"#;
        assert_eq!(node_risks(&node(late)).len(), 1);
        let both = r#"{"store_dir":"/tmp/jetstream","sync_interval":2000000000000000}"#;
        assert_eq!(node_risks(&node(both)).len(), 2);
    }

    #[test]
    fn every_setting_that_drops_messages_is_a_risk() {
        let good = r#"{"name":"s","state":{},"config":{"retention":"limits","storage":"file","discard":"new",
            "num_replicas":3,"max_msgs":-1,"max_bytes":-1,"max_age":0,"deny_delete":true,"deny_purge":true}}"#;
        let risks = |text: &str| stream_risks(&serde_json::from_str(text).unwrap(), 3).len();
        assert_eq!(risks(good), 0);
        let changes = [
            ("\"file\"", "\"memory\""),
            ("\"limits\"", "\"interest\""),
            ("\"new\"", "\"old\""),
            ("\"num_replicas\":3", "\"num_replicas\":1"),
            ("\"max_age\":0", "\"max_age\":5"),
            ("\"deny_purge\":true", "\"deny_purge\":false"),
        ];
        for (from, to) in changes {
            assert_eq!(risks(&good.replace(from, to)), 1, "{to}");
        }
    }

    #[test]
    fn without_a_monitor_nothing_can_be_checked() {
        assert!(nodes(&[]).is_err());
    }
}
