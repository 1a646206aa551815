//! Tables.

use super::data_set::{Alternative, DataFile, DataSet};

// One file per line, however long: the lines are read as a table.
#[rustfmt::skip]
pub(super) const SETS: &[DataSet] = &[
    DataSet {
        name: "electricity",
        title: "Electricity (Elec2): 45,312 half-hours of the New South Wales market, 2 classes",
        files: &[
            DataFile::stored("elec.csv.gz", 687660, "0a418e5d3b49793ced42d11adb2e23253ca8b16442e7762aa796f7951aab9344").holding("cdf901433885f29eca6911f70c0eeafb50d90596c879c30c5b99f5a2e8e734ff"),
            DataFile::public("elec.csv", 3200586, "cdf901433885f29eca6911f70c0eeafb50d90596c879c30c5b99f5a2e8e734ff", "https://raw.githubusercontent.com/scikit-multiflow/streaming-datasets/f1eb9f068c3450233721c3beac6fb0e880e9e7d7/elec.csv"),
        ],
        alternatives: &[
            Alternative { converted: &["elec.csv.gz"], original: &["elec.csv"], is_complete: true },
        ],
        licence: "None stated; OpenML 151 marks it public",
        citation: "Harries, Splice-2 comparative evaluation: Electricity pricing, UNSW-CSE-TR-9905, 1999",
        homepage: "https://github.com/scikit-multiflow/streaming-datasets",
        parser: "datasets::table::parse_numeric",
        preparation: "",
    },
    DataSet {
        name: "bank-marketing",
        title: "Bank Marketing (UCI 222), bank-full: 45,211 calls, 2 classes",
        files: &[
            DataFile::stored("bank.zip", 579043, "99d7e8eb12401ed278b793984423915411ea8df099e1795f9fefe254f513fe5e"),
            DataFile::public("bank+marketing.zip", 1023915, "78ec0430a915e99836a533b79bdf635ee27e86fbd348bcdb4080f572b1a24aee", "https://raw.githubusercontent.com/Eshani-haldorai/bank-marketing-classifier/eb5cc1ace7babca900ef7484106d073ff70164c7/bank+marketing.zip"),
        ],
        alternatives: &[
            Alternative { converted: &["bank.zip"], original: &["bank+marketing.zip"], is_complete: true },
        ],
        licence: "CC BY 4.0",
        citation: "Moro, Laureano, Cortez, Using Data Mining for Bank Direct Marketing, ESM 2011; Moro, Cortez, Rita, Decision Support Systems 62, 2014",
        homepage: "https://archive.ics.uci.edu/dataset/222/bank+marketing",
        parser: "datasets::table::parse_text",
        preparation: "",
    },
    DataSet {
        name: "routing-curves",
        title: "Loss curves of 223 dense and routed language models",
        files: &[
            DataFile::public("curves.csv.gz", 336608, "c03e7531add85e594f368d33bac4a0220280be858a7ed12d147cf73af6a3819f", "https://raw.githubusercontent.com/google-deepmind/scaling_laws_for_routing/42da0c392b127df2c01fa7b705f72396050d05e5/data/curves.csv.gz").holding("a93902c7cc30ff44e8aac701ee3a8ffec33be3417a85abefa88f7d4c8a50973d"),
        ],
        alternatives: &[
        ],
        licence: "CC BY 4.0 (data)",
        citation: "Clark, de Las Casas, Guy, Mensch et al., Unified Scaling Laws for Routed Language Models, ICML 2022",
        homepage: "https://github.com/google-deepmind/scaling_laws_for_routing",
        parser: "datasets::routing_curves::load",
        preparation: "",
    },
];
