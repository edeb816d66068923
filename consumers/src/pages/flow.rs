//! Where the boxes and bands of the flow picture lie.
//!
//! Three columns of boxes: categories of data, who received them, and to whom those passed them on. A band is as thick
//! as its share of all disclosures, and never so thin that it cannot be seen.
//!
//! In scope: positions, and which boxes are folded into one where there are too many. Out of scope: names, colours,
//! markup (see `sharing`). Trust: counts may be anything; nothing here overflows.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How thick all bands between two columns are together, if none is thinner than [`THINNEST`].
const SPAN: u32 = 340;
/// The thinnest band.
const THINNEST: u32 = 2;
/// Between two boxes of a column.
const GAP: u32 = 10;

/// A column of boxes.
pub(super) struct Column {
    /// Its left edge.
    pub(super) left: u32,
    /// The width of its boxes.
    pub(super) width: u32,
    /// The least height of a box: that of its text.
    least: u32,
    /// The most boxes.
    most: usize,
}

/// Categories, recipients, onward recipients.
pub(super) static COLUMNS: [Column; 3] = [
    Column {
        left: 0,
        width: 200,
        least: 34,
        most: 10,
    },
    Column {
        left: 350,
        width: 260,
        least: 68,
        most: 12,
    },
    Column {
        left: 740,
        width: 220,
        least: 68,
        most: 8,
    },
];

impl Column {
    /// Its right edge.
    pub(super) fn right(&self) -> u32 {
        self.left + self.width
    }
}

/// How often data went from one to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strand {
    /// A category, or a recipient that passes data on.
    pub(super) from: String,
    /// A recipient.
    pub(super) to: String,
    /// How often.
    pub(super) count: u64,
}

/// What is to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flows {
    /// From categories to recipients.
    pub(super) received: Vec<Strand>,
    /// From recipients to others.
    pub(super) onward: Vec<Strand>,
}

/// What a box stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// One category or recipient, by its key.
    One(String),
    /// So many that are not drawn one by one.
    Others(usize),
}

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// What it stands for.
    pub(super) who: Who,
    /// How often.
    pub(super) count: u64,
    /// Its upper edge.
    pub(super) top: u32,
    /// Its height.
    pub(super) height: u32,
}

/// A band between boxes of two neighbouring columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Band {
    /// The column it comes from: 0 or 1.
    pub(super) column: usize,
    /// The box it comes from.
    pub(super) from: usize,
    /// The box in the next column that it goes to.
    pub(super) to: usize,
    /// How often.
    pub(super) count: u64,
    /// Its upper edge where it begins.
    pub(super) start: u32,
    /// Its upper edge where it ends.
    pub(super) end: u32,
    /// How thick it is.
    pub(super) thickness: u32,
}

impl Band {
    /// Its outline, as SVG writes paths.
    pub(super) fn path(&self) -> String {
        let (left, right) = (COLUMNS[self.column].right(), COLUMNS[self.column + 1].left);
        let bend = u32::midpoint(left, right);
        let (start, end) = (self.start, self.end);
        let (start_low, end_low) = (start + self.thickness, end + self.thickness);
        format!(
            "M{left} {start}C{bend} {start} {bend} {end} {right} {end}\
             V{end_low}C{bend} {end_low} {bend} {start_low} {left} {start_low}Z"
        )
    }
}

/// A picture: its boxes by column, and its bands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Its width.
    pub(super) width: u32,
    /// Its height.
    pub(super) height: u32,
    /// The boxes of each column, from above.
    pub(super) columns: [Vec<Node>; 3],
    /// All bands.
    pub(super) bands: Vec<Band>,
}

/// Lays out a picture; the boxes with the most disclosures come first.
pub(super) fn draw(flows: &Flows) -> Picture {
    let ranked = [
        rank(
            flows.received.iter().map(|strand| (&*strand.from, strand.count)),
            0,
        ),
        rank(recipients(flows).into_iter(), 1),
        rank(flows.onward.iter().map(|strand| (&*strand.to, strand.count)), 2),
    ];
    let mut bands = join(flows, &ranked);
    let mut columns = ranked.map(|column| column.nodes);
    let height = stack(&mut columns, &bands);
    attach(&mut bands, &columns);
    let last = if columns[2].is_empty() { 1 } else { 2 };
    Picture {
        width: COLUMNS[last].right(),
        height,
        columns,
        bands,
    }
}

/// A column's boxes, and in which of them each key is.
struct Ranked<'a> {
    nodes: Vec<Node>,
    places: BTreeMap<&'a str, usize>,
}

/// What each recipient received; whoever passed on more than that by what it passed on.
fn recipients(flows: &Flows) -> Vec<(&str, u64)> {
    let mut received = sum(&mut flows.received.iter().map(|strand| (&*strand.to, strand.count)));
    let passed_on = sum(&mut flows.onward.iter().map(|strand| (&*strand.from, strand.count)));
    for (key, count) in passed_on {
        let most = received.entry(key).or_default();
        *most = count.max(*most);
    }
    received.into_iter().collect()
}

fn sum<'a>(counts: &mut dyn Iterator<Item = (&'a str, u64)>) -> BTreeMap<&'a str, u64> {
    let mut sums = BTreeMap::new();
    for (key, count) in counts {
        let sum: &mut u64 = sums.entry(key).or_default();
        *sum = sum.saturating_add(count);
    }
    sums
}

/// The boxes of a column by rank; those that are too many share the last one.
fn rank<'a>(mut counts: impl Iterator<Item = (&'a str, u64)>, column: usize) -> Ranked<'a> {
    let mut ranked: Vec<(&str, u64)> = sum(&mut counts).into_iter().collect();
    ranked.sort_by_key(|&(key, count)| (Reverse(count), key));
    let most = COLUMNS[column].most;
    let shown = if ranked.len() > most {
        most - 1
    } else {
        ranked.len()
    };
    let (alone, others) = ranked.split_at(shown);
    let node = |who, count| Node {
        who,
        count,
        top: 0,
        height: 0,
    };
    let mut nodes: Vec<Node> = alone
        .iter()
        .map(|&(key, count)| node(Who::One(key.to_owned()), count))
        .collect();
    if !others.is_empty() {
        let count = others
            .iter()
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        nodes.push(node(Who::Others(others.len()), count));
    }
    let places = ranked
        .iter()
        .enumerate()
        .map(|(rank, (key, _))| (*key, rank.min(shown)));
    Ranked {
        places: places.collect(),
        nodes,
    }
}

/// The bands, with their thickness and not yet with their places.
fn join(flows: &Flows, ranked: &[Ranked<'_>; 3]) -> Vec<Band> {
    let total = |strands: &[Strand]| -> u128 { strands.iter().map(|strand| u128::from(strand.count)).sum() };
    let total = total(&flows.received).max(total(&flows.onward)).max(1);
    let mut counts: BTreeMap<(usize, usize, usize), u64> = BTreeMap::new();
    for (column, strands) in [&flows.received, &flows.onward].into_iter().enumerate() {
        for strand in strands {
            let (from, to) = (&ranked[column].places, &ranked[column + 1].places);
            let (from, to) = (from[strand.from.as_str()], to[strand.to.as_str()]);
            let count = counts.entry((column, from, to)).or_default();
            *count = count.saturating_add(strand.count);
        }
    }
    let band = |((column, from, to), count): ((usize, usize, usize), u64)| {
        let share = u128::from(count) * u128::from(SPAN) / total;
        Band {
            column,
            from,
            to,
            count,
            start: 0,
            end: 0,
            thickness: u32::try_from(share).map_or(SPAN, |share| share.clamp(THINNEST, SPAN)),
        }
    };
    counts.into_iter().map(band).collect()
}

/// How thick the bands are together that leave a box, and those that come to it.
fn thickness(bands: &[Band], column: usize, node: usize) -> (u32, u32) {
    let sum = |is_its: &dyn Fn(&Band) -> bool| -> u32 {
        bands
            .iter()
            .filter(|band| is_its(band))
            .map(|band| band.thickness)
            .sum()
    };
    (
        sum(&|band| (band.column, band.from) == (column, node)),
        sum(&|band| (band.column + 1, band.to) == (column, node)),
    )
}

/// Gives every box its height and its place; columns are centred on each other. Returns the height of all.
fn stack(columns: &mut [Vec<Node>; 3], bands: &[Band]) -> u32 {
    let mut heights = [0; 3];
    for (column, nodes) in columns.iter_mut().enumerate() {
        let mut top = 0;
        for (place, node) in nodes.iter_mut().enumerate() {
            let (leaving, coming) = thickness(bands, column, place);
            node.top = top;
            node.height = COLUMNS[column].least.max(leaving).max(coming);
            top += node.height + GAP;
        }
        heights[column] = top.saturating_sub(GAP);
    }
    let height = heights.into_iter().max().unwrap_or_default();
    for (nodes, own) in columns.iter_mut().zip(heights) {
        for node in nodes {
            node.top += (height - own) / 2;
        }
    }
    height
}

/// Gives every band its ends: side by side on each box, in the order of the boxes at their other ends.
fn attach(bands: &mut [Band], columns: &[Vec<Node>; 3]) {
    let mut used: BTreeMap<(usize, usize, bool), u32> = BTreeMap::new();
    for at in 0..bands.len() {
        let Band {
            column,
            from,
            to,
            thickness: own,
            ..
        } = bands[at];
        let (leaving, _) = thickness(bands, column, from);
        let (_, coming) = thickness(bands, column + 1, to);
        let mut edge = |column: usize, node: usize, leaves: bool, sum: u32| {
            let (Node { top, height, .. }, used) = (
                &columns[column][node],
                used.entry((column, node, leaves)).or_default(),
            );
            let edge = top + (height - sum) / 2 + *used;
            *used += own;
            edge
        };
        let start = edge(column, from, true, leaving);
        let end = edge(column + 1, to, false, coming);
        (bands[at].start, bands[at].end) = (start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strand(from: &str, to: &str, count: u64) -> Strand {
        Strand {
            from: from.to_owned(),
            to: to.to_owned(),
            count,
        }
    }

    fn many(categories: usize, recipients: usize) -> Flows {
        let pairs = (0..categories).flat_map(|from| (0..recipients).map(move |to| (from, to)));
        let received = pairs.map(|(from, to)| {
            let count = u64::try_from(from * 7 + to * 3 + 1).unwrap();
            strand(&format!("pd:C{from}"), &format!("r{to}.example"), count)
        });
        Flows {
            received: received.collect(),
            onward: vec![
                strand("r0.example", "s.example", 4),
                strand("r1.example", "t.example", 1),
            ],
        }
    }

    fn check(picture: &Picture) {
        for nodes in &picture.columns {
            for pair in nodes.windows(2) {
                assert!(pair[0].top + pair[0].height < pair[1].top, "{pair:?}");
            }
            assert!(nodes.iter().all(|node| node.top + node.height <= picture.height));
        }
        for band in &picture.bands {
            let within =
                |node: &Node, edge: u32| edge >= node.top && edge + band.thickness <= node.top + node.height;
            assert!(
                within(&picture.columns[band.column][band.from], band.start),
                "{band:?}"
            );
            assert!(
                within(&picture.columns[band.column + 1][band.to], band.end),
                "{band:?}"
            );
            assert!(band.thickness >= THINNEST);
        }
    }

    /// The fault: boxes or the ends of bands that lie on each other, so that the picture tells nothing.
    #[test]
    fn nothing_overlaps() {
        for flows in [many(1, 1), many(3, 2), many(10, 12), many(40, 60)] {
            let picture = draw(&flows);
            check(&picture);
            for (at, one) in picture.bands.iter().enumerate() {
                for other in &picture.bands[at + 1..] {
                    let apart = |a: u32, b: u32| a + one.thickness <= b || b + other.thickness <= a;
                    if (one.column, one.from) == (other.column, other.from) {
                        assert!(apart(one.start, other.start), "{one:?} {other:?}");
                    }
                    if (one.column, one.to) == (other.column, other.to) {
                        assert!(apart(one.end, other.end), "{one:?} {other:?}");
                    }
                }
            }
        }
    }

    /// The fault: a disclosure that is in the trail and not in the picture.
    #[test]
    fn every_link_is_drawn() {
        let flows = many(6, 5);
        let picture = draw(&flows);
        let name = |column: usize, node: usize| match &picture.columns[column][node].who {
            Who::One(key) => key.clone(),
            Who::Others(_) => unreachable!("six categories and five recipients are drawn one by one"),
        };
        let mut drawn: Vec<Strand> = picture
            .bands
            .iter()
            .map(|band| {
                strand(
                    &name(band.column, band.from),
                    &name(band.column + 1, band.to),
                    band.count,
                )
            })
            .collect();
        let mut told: Vec<Strand> = flows.received.iter().chain(&flows.onward).cloned().collect();
        drawn.sort_by_key(|one| (one.from.clone(), one.to.clone()));
        told.sort_by_key(|one| (one.from.clone(), one.to.clone()));
        assert_eq!(drawn, told);
    }

    /// The fault: what is folded falls out of the sums.
    #[test]
    fn many_categories_fold_into_one_box() {
        let flows = many(40, 3);
        let picture = draw(&flows);
        assert_eq!(picture.columns[0].len(), COLUMNS[0].most);
        assert_eq!(
            picture.columns[0].last().map(|node| &node.who),
            Some(&Who::Others(31))
        );
        let told: u64 = flows.received.iter().map(|strand| strand.count).sum();
        let boxes: u64 = picture.columns[0].iter().map(|node| node.count).sum();
        let bands: u64 = picture
            .bands
            .iter()
            .filter(|band| band.column == 0)
            .map(|band| band.count)
            .sum();
        assert_eq!((boxes, bands), (told, told));
    }

    /// The fault: a series that counts to the end of its type takes the page down.
    #[test]
    fn counts_may_be_anything() {
        let flows = Flows {
            received: vec![
                strand("pd:Name", "a.example", u64::MAX),
                strand("pd:Name", "b.example", u64::MAX),
                strand("pd:Age", "b.example", 0),
            ],
            onward: vec![strand("nobody.example", "c.example", 1)],
        };
        let picture = draw(&flows);
        check(&picture);
        assert_eq!(picture.bands.len(), 4);
        // Who is only known to pass on stands among the recipients.
        assert!(
            picture.columns[1]
                .iter()
                .any(|node| node.who == Who::One("nobody.example".into()))
        );
    }

    #[test]
    fn nothing_to_draw_is_an_empty_picture() {
        let picture = draw(&Flows::default());
        assert_eq!((picture.height, picture.bands.len()), (0, 0));
        assert!(picture.columns.iter().all(Vec::is_empty));
    }

    #[test]
    fn without_onward_recipients_the_picture_ends_at_the_recipients() {
        let narrow = Flows {
            onward: Vec::new(),
            ..many(2, 2)
        };
        assert_eq!(draw(&narrow).width, COLUMNS[1].right());
        assert_eq!(draw(&many(2, 2)).width, COLUMNS[2].right());
    }

    #[test]
    fn a_band_is_drawn_between_its_columns() {
        let picture = draw(&Flows {
            received: vec![strand("pd:Name", "a.example", 1)],
            onward: Vec::new(),
        });
        let path = picture.bands[0].path();
        assert_eq!(picture.bands[0].thickness, SPAN);
        assert_eq!(path, "M200 0C275 0 275 0 350 0V340C275 340 275 340 200 340Z");
    }
}
