//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];

const SCRIPT: &str = "result lists in comments of the authors' plotting script, within 5 points";

const fn of_script(value: f64) -> Option<Published> {
    Some(Published { value, spread: None, source: SCRIPT })
}

const fn faces(id: &'static str, statement: &'static str, judge: Judge) -> Claim {
    Claim::new(id, statement, judge, "", REAL)
}

macro_rules! on_faces {
    ($($id:literal, $what:literal, $judge:expr;)*) => {
        [$(faces($id, concat!("Yale B, dense network: ", $what, ", mean of splits"), $judge)),*]
    };
}

const OWN: [Claim; 7] = [
    Claim::new(
        "budgets",
        "Perturbed inputs of all attacks keep budget and bounds when evaluated in f64 without a tolerance: how many do not",
        Judge::AtMost(0.),
        "inputs",
        ALL,
    ),
    Claim::new(
        "determinism",
        "Attacks on a part of the samples, in another order and other batches: how many inputs differ in a bit",
        Judge::AtMost(0.),
        "inputs",
        ALL,
    ),
    Claim::new(
        "bpda-identity",
        "BPDA of the identity is the plain attack: how many inputs differ in a bit",
        Judge::AtMost(0.),
        "inputs",
        ALL,
    ),
    Claim::new(
        "union",
        "Generated union of subspaces, authors' rule of 4 rounds: the smaller of the accuracies of class (SBSC) and kind of attack (SBSAD), with and without noise",
        Judge::AtLeast(0.95),
        "",
        ALL,
    ),
    Claim::new(
        "recovery",
        "Signals of pairs whose recovery condition holds (at least 200): share whose minimiser is supported on the two true blocks",
        Judge::AtLeast(1.),
        "",
        ALL,
    ),
    Claim::new("recovery-pairs", "Generated pairs whose recovery condition holds", Judge::AtLeast(0.3), "", ALL),
    Claim::new(
        "recovery-without",
        "Signals of pairs whose recovery condition fails: share whose minimiser is supported on the two true blocks all the same",
        Judge::ReportOnly,
        "",
        ALL,
    ),
];

/// Settings of the table and their names in claims.
pub(crate) const SETTINGS: [&str; 4] = ["clean", "l1", "l2", "linf"];

const FACES: [Claim; 24] = on_faces![
    "faces-clean", "SBSC of 12 rounds on clean images", Judge::AtLeast(0.88);
    "faces-l1", "SBSC of 12 rounds under l_1 of 7.5", Judge::AtLeast(0.82);
    "faces-l2", "SBSC of 12 rounds under l_2 of 0.75", Judge::AtLeast(0.82);
    "faces-linf", "SBSC of 12 rounds under l_inf of 0.03", Judge::AtLeast(0.82);
    "faces-attack-l1", "SBSAD of 12 rounds under l_1 of 7.5", Judge::AtLeast(0.8);
    "faces-attack-linf", "SBSAD of 12 rounds under l_inf of 0.03", Judge::AtLeast(0.8);
    "faces-attack-l2-lower", "SBSAD under l_1 or l_inf, the lower one, minus that under l_2", Judge::AtLeast(1e-9);
    "faces-undefended", "the network without a defence under l_1 of 7.5", Judge::AtMost(0.3);
    "faces-rounds-clean", "SBSC of 12 rounds minus the authors' rule, clean images", Judge::AtLeast(0.2);
    "faces-rounds-l1", "SBSC of 12 rounds minus the authors' rule, l_1 of 7.5", Judge::AtLeast(0.2);
    "faces-rounds-l2", "SBSC of 12 rounds minus the authors' rule, l_2 of 0.75", Judge::AtLeast(0.2);
    "faces-rounds-linf", "SBSC of 12 rounds minus the authors' rule, l_inf of 0.03", Judge::AtLeast(0.2);
    "faces-subspace-clean", "SBSC minus the nearest subspace, clean images", Judge::ReportOnly;
    "faces-subspace-l1", "SBSC minus the nearest subspace, l_1 of 7.5", Judge::ReportOnly;
    "faces-subspace-l2", "SBSC minus the nearest subspace, l_2 of 0.75", Judge::ReportOnly;
    "faces-subspace-linf", "SBSC minus the nearest subspace, l_inf of 0.03", Judge::ReportOnly;
    "faces-residual-l1", "SBSAD minus the residual rule, l_1 of 7.5", Judge::ReportOnly;
    "faces-residual-l2", "SBSAD minus the residual rule, l_2 of 0.75", Judge::ReportOnly;
    "faces-residual-linf", "SBSAD minus the residual rule, l_inf of 0.03", Judge::ReportOnly;
    "faces-network-l1", "the network on SBSC's clean estimate (SBSC+CNN), l_1 of 7.5", Judge::ReportOnly;
    "faces-network-linf", "the network on SBSC's clean estimate (SBSC+CNN), l_inf of 0.03", Judge::ReportOnly;
    "faces-own-part", "SBSC judged with each class's own attack part minus with the whole, mean of the four settings", Judge::ReportOnly;
    "faces-no-attack", "clean images that count as not attacked, by a threshold from training images outside the dictionary", Judge::ReportOnly;
    "faces-transfer", "SBSAD with attack blocks from another network, mean of the three attacks", Judge::ReportOnly;
];

const DIGITS: [Claim; 6] = [
    Claim::new(
        "digits-gain",
        "MNIST, 50 images of a class in the dictionary, l_inf of 0.3: SBSC minus the network without a defence",
        Judge::ReportOnly,
        "",
        REAL,
    ),
    Claim {
        id: "digits-linf",
        statement: "MNIST, l_inf of 0.3: SBSC (published with 200 images of a class)",
        published: of_script(0.56),
        judge: Judge::ReportOnly,
        unit: "",
        scales: REAL,
    },
    Claim {
        id: "digits-l1",
        statement: "MNIST, l_1 of 10: SBSC (published with 200 images of a class)",
        published: of_script(0.82),
        judge: Judge::ReportOnly,
        unit: "",
        scales: REAL,
    },
    Claim {
        id: "digits-l2",
        statement: "MNIST, l_2 of 2: SBSC (published with 200 images of a class)",
        published: of_script(0.81),
        judge: Judge::ReportOnly,
        unit: "",
        scales: REAL,
    },
    Claim {
        id: "digits-attack",
        statement: "MNIST, l_inf of 0.3: SBSAD (published with 200 images of a class)",
        published: of_script(0.86),
        judge: Judge::ReportOnly,
        unit: "",
        scales: REAL,
    },
    Claim::new(
        "digits-certified",
        "MNIST: signals at whose last minimum no inactive block could improve anything, share of all settings",
        Judge::ReportOnly,
        "",
        REAL,
    ),
];

const fn copy(of: &Claim) -> Claim {
    Claim {
        id: of.id,
        statement: of.statement,
        published: of.published,
        judge: of.judge,
        unit: of.unit,
        scales: of.scales,
    }
}

const COUNT: usize = OWN.len() + FACES.len() + DIGITS.len();

const CLAIMS: [Claim; COUNT] = {
    const FIRST: Claim = copy(&OWN[0]);
    let mut all = [FIRST; COUNT];
    let mut at = 0;
    while at < COUNT {
        all[at] = if at < OWN.len() {
            copy(&OWN[at])
        } else if at < OWN.len() + FACES.len() {
            copy(&FACES[at - OWN.len()])
        } else {
            copy(&DIGITS[at - OWN.len() - FACES.len()])
        };
        at += 1;
    }
    all
};

pub(crate) static PAPER: Paper = Paper {
    slug: "reverse-engineering-attacks",
    title: "Reverse Engineering l_p attacks: A block-sparse optimization approach with recovery guarantees",
    authors: "Darshan Thaker, Paris Giampouras, René Vidal",
    venue: "ICML 2022, PMLR 162",
    url: "https://arxiv.org/abs/2203.04886",
    claims: &CLAIMS,
};
