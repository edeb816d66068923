//! Known answers, computed with another implementation of SHA-256 from the rules alone.

use sharetrail_proof::hash::Hash;
use sharetrail_proof::map::{EMPTY, MapValue, OtherLeaf, bit, leaf_hash, node_hash, subtree_root};
use sharetrail_proof::name::Label;

use crate::support::hex32;

/// Five labels: the third shares 255 bits with the first, the fourth seven with the second.
fn labels() -> [Label; 5] {
    let mut third = [0x11; 32];
    third[31] = 0x10;
    let mut fourth = [0; 32];
    fourth[0] = 0x90;
    [[0x11; 32], [0x91; 32], third, fourth, [0xff; 32]].map(Label)
}

fn hash(digits: &str) -> Hash {
    Hash(hex32(digits))
}

/// The leaf of the label with this number: one leaf more than the number, and a root of as many.
fn leaf(number: u8) -> (Label, Hash) {
    let value = MapValue {
        count: u64::from(number) + 1,
        root: Hash([number + 1; 32]),
    };
    let label = labels()[usize::from(number)];
    (label, leaf_hash(&label, &value.hash()))
}

fn root_of_first(count: u8) -> Hash {
    let mut leaves: Vec<_> = (0..count).map(leaf).collect();
    leaves.sort();
    subtree_root(0, &leaves)
}

#[test]
fn values_leaves_and_nodes_have_known_hashes() {
    let one = MapValue {
        count: 1,
        root: Hash([1; 32]),
    };
    let most = MapValue {
        count: u64::MAX,
        root: Hash([0; 32]),
    };
    assert_eq!(
        one.hash(),
        hash("cd3a9dcc6836157f74ded64fb72f111f4f40601130bd5a93b61168c72cb20d45")
    );
    assert_eq!(
        most.hash(),
        hash("f69052d68861c447ef7cf72d7125536195062a9b8af22fc7e5dd0db0e1cef5a7")
    );
    assert_eq!(
        leaf(0).1,
        hash("608891c5f544a9b8df371a53ab7215273dbf5e7a79677f22e892874acf56baae")
    );
    assert_eq!(
        node_hash(&leaf(0).1, &leaf(1).1),
        hash("413102d36985a54577d7c14a5f51180ee4f7ba277a3a64bfe1a3488da450913d")
    );
}

#[test]
fn maps_of_a_few_labels_have_known_roots() {
    assert_eq!((root_of_first(0), EMPTY), (Hash([0; 32]), Hash([0; 32])));
    assert_eq!(
        root_of_first(1),
        hash("608891c5f544a9b8df371a53ab7215273dbf5e7a79677f22e892874acf56baae")
    );
    assert_eq!(
        root_of_first(2),
        hash("413102d36985a54577d7c14a5f51180ee4f7ba277a3a64bfe1a3488da450913d")
    );
    assert_eq!(
        root_of_first(5),
        hash("ce54447754d4a2fad7a3fa05130feac2f2cc9eeebec8271409119f9e0906b0b3")
    );
}

#[test]
fn bits_count_from_the_most_significant_on() {
    let mut bytes = [0; 32];
    (bytes[0], bytes[31]) = (0b1010_0000, 0b0000_0001);
    let set: Vec<usize> = (0..256).filter(|&depth| bit(&Label(bytes), depth)).collect();
    assert_eq!(set, [0, 2, 255]);
}

#[test]
fn another_leaf_is_written_in_json_as_hex_and_base64() {
    let json = concat!(
        r#"{"label":"1111111111111111111111111111111111111111111111111111111111111111","#,
        r#""value":"zlREd1TUovrXo/oFEw/qwvLMnu6+yCcUCRGfngkGsLM="}"#
    );
    let leaf = OtherLeaf {
        label: labels()[0],
        value: hash("ce54447754d4a2fad7a3fa05130feac2f2cc9eeebec8271409119f9e0906b0b3"),
    };
    assert_eq!(serde_json::to_string(&leaf).unwrap(), json);
    assert_eq!(serde_json::from_str::<OtherLeaf>(json).unwrap(), leaf);
    for bad in [
        json.replace("\"value\"", "\"hash\""),
        json.replace('}', ",\"more\":1}"),
        json.replacen("11", "1", 1),
        json.replace("sLM=", "sLN="),
        "{}".to_owned(),
    ] {
        assert!(serde_json::from_str::<OtherLeaf>(&bad).is_err(), "{bad}");
    }
}
