//! Time series, sound and road graphs.

use super::data_set::{Alternative, DataFile, DataSet};

// One file per line, however long: the lines are read as a table.
#[rustfmt::skip]
pub(super) const SETS: &[DataSet] = &[
    DataSet {
        name: "fsdd",
        title: "Free Spoken Digit Dataset: 3000 recordings, 8 kHz, 6 speakers, 10 digits",
        files: &[
            DataFile::stored("recordings.tar.gz", 15557934, "7b7bcf0e4d576b35121c298d35ec27fe72fbe9482ce9bf17f1db5e6c12ac7f45"),
        ],
        alternatives: &[
        ],
        licence: "CC BY-SA 4.0",
        citation: "Jackson et al., Free Spoken Digit Dataset, Zenodo, doi:10.5281/zenodo.1342401",
        homepage: "https://github.com/Jakobovski/free-spoken-digit-dataset",
        parser: "datasets::sound::load_fsdd",
        preparation: "Pack the folder recordings/ of https://github.com/Jakobovski/free-spoken-digit-dataset at commit 26eb9aaf76e81b692f806f9140c2d2777410d7a1 as recordings.tar.gz.",
    },
    DataSet {
        name: "los-loop",
        title: "One week of speeds at 207 Los Angeles loop detectors (part of METR-LA)",
        files: &[
            DataFile::public("los_adj.csv", 111686, "7a6eb41e10677992b5af50f5ab187c6c05c5c3a92cb973950cfddbf857361e76", "https://raw.githubusercontent.com/lehaifeng/T-GCN/219a2346f5bf68d54d91a948e7a41a08f9edc46b/T-GCN/T-GCN-PyTorch/data/los_adj.csv"),
            DataFile::public("los_speed.csv", 3402125, "7b732d86ae32b2930595becba28aff39dacbfb2197e250fc0332e1744ce2cbf4", "https://raw.githubusercontent.com/lehaifeng/T-GCN/219a2346f5bf68d54d91a948e7a41a08f9edc46b/T-GCN/T-GCN-PyTorch/data/los_speed.csv"),
        ],
        alternatives: &[
        ],
        licence: "MIT",
        citation: "Zhao et al., T-GCN, IEEE T-ITS 2020; Li et al., DCRNN, ICLR 2018",
        homepage: "https://github.com/lehaifeng/T-GCN",
        parser: "datasets::table::parse_numeric",
        preparation: "",
    },
    DataSet {
        name: "pems-graphs",
        title: "Road graphs and learned graphs of the PEMS traffic data (no flows)",
        files: &[
            DataFile::public("PEMS03_distance.csv", 11994, "b978bc1fee8172ac0bb02e6478f0376b68d172ee88c0c3121c60241e42c89fc6", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS03/PEMS03.csv"),
            DataFile::public("PEMS04_distance.csv", 4852, "68ffaa80447eb34428a9999dc28363c61406ec0fd714686d0582d2386ac6f5f7", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS04/PEMS04.csv"),
            DataFile::public("PEMS07_distance.csv", 15016, "f7d127ebf976f1e2d93dc7d7275cef6d8c4c1828c7c8bfbaf3ee1254491314f1", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS07/PEMS07.csv"),
            DataFile::public("PEMS08_distance.csv", 4032, "859d68e7583ed4e6016588eaaca494d3ece286dae361614c5c1833017f87eaa7", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS08/PEMS08.csv"),
            DataFile::public("PEMS03_sensor_ids.txt", 2862, "553bd79618c1e7eb195b467b5a3114d44c5adb43f7ab8b19789fd9dfaa43c439", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS03/PEMS03.txt"),
            DataFile::public("PEMS03_similarity.npy", 1025440, "4fc4121daef322e93ca838d70b6026440ef3d50751dbd264f01af6643761b38f", "https://raw.githubusercontent.com/yash-jakhmola/w-dstagnn/a3633d5acd3003bc6e2766473184ec628ad4b0c8/data/PEMS03/stag_001_PEMS03.npy"),
            DataFile::public("PEMS04_similarity.npy", 754120, "0b2893938fe2a326289f4d64d319b3f3a5440341aa933f9b3bcaa15280e76f21", "https://raw.githubusercontent.com/yash-jakhmola/w-dstagnn/a3633d5acd3003bc6e2766473184ec628ad4b0c8/data/PEMS04/stag_001_PEMS04.npy"),
            DataFile::stored("PEMS03_stag_from_similarity.csv.gz", 2764, "8c081e4348a461e921665bda3dcdf2a24261fd1aaa9428b0f61b8749fbfc2b3b").holding("8717a23ccf11a6c631a72c17f4eb6aabfe4c916e69d245136b0d3e1ff9f473be"),
            DataFile::public("PEMS03_stag_from_similarity.csv", 513014, "8717a23ccf11a6c631a72c17f4eb6aabfe4c916e69d245136b0d3e1ff9f473be", "https://raw.githubusercontent.com/yash-jakhmola/w-dstagnn/a3633d5acd3003bc6e2766473184ec628ad4b0c8/data/PEMS03/stag_001_PEMS03.csv"),
            DataFile::stored("PEMS03_strg_from_similarity.csv.gz", 17060, "b921cac6b0e92f8117867775866263120daa927d3a1ee96f5893f046b0f2e3a5").holding("7faf0eb58d4e4c9189a1ae69a4dd8df53e87205c2b3eb46249dc2ec53e6f158f"),
            DataFile::public("PEMS03_strg_from_similarity.csv", 534148, "7faf0eb58d4e4c9189a1ae69a4dd8df53e87205c2b3eb46249dc2ec53e6f158f", "https://raw.githubusercontent.com/yash-jakhmola/w-dstagnn/a3633d5acd3003bc6e2766473184ec628ad4b0c8/data/PEMS03/strg_001_PEMS03.csv"),
            DataFile::stored("PEMS04_stag_from_similarity.csv.gz", 2325, "744ba9431e5a4d4859686bfab0b5bdf650df94a6b15635690c8f46211524c3a4").holding("719ea0009c1690a454f304e6635653faeeea7f666b4f6d3772a44f9f26877735"),
            DataFile::public("PEMS04_stag_from_similarity.csv", 377303, "719ea0009c1690a454f304e6635653faeeea7f666b4f6d3772a44f9f26877735", "https://raw.githubusercontent.com/yash-jakhmola/w-dstagnn/a3633d5acd3003bc6e2766473184ec628ad4b0c8/data/PEMS04/stag_001_PEMS04.csv"),
            DataFile::stored("PEMS04_strg_from_similarity.csv.gz", 14447, "4863274626e020151a150654c9f909a3ec22c8532855d215cb198fead4128956").holding("eff4b1c7792927244834dc6d30ae19d6a4f57c7550e0ce745bf0e4dc750eb3de"),
            DataFile::public("PEMS04_strg_from_similarity.csv", 395434, "eff4b1c7792927244834dc6d30ae19d6a4f57c7550e0ce745bf0e4dc750eb3de", "https://raw.githubusercontent.com/yash-jakhmola/w-dstagnn/a3633d5acd3003bc6e2766473184ec628ad4b0c8/data/PEMS04/strg_001_PEMS04.csv"),
            DataFile::stored("PEMS04_stag_published.csv.gz", 2283, "bef6e62608579a76fecf61e9e03a29aa49b2f64b2cc2f44c7187618abbc2f22b").holding("9044c3914329ba22f773a1c0a61cc0c70418bcca1a06eb41af5fc919367b6dbc"),
            DataFile::public("PEMS04_stag_published.csv", 376996, "9044c3914329ba22f773a1c0a61cc0c70418bcca1a06eb41af5fc919367b6dbc", "https://raw.githubusercontent.com/SYLan2019/DSTAGNN/d9b7f1f10db4707e20255166e5d3cea0f0696a5b/data/PEMS04/stag_001_PEMS04.csv"),
            DataFile::stored("PEMS04_strg_published.csv.gz", 14465, "08b90679da22c36430f9c5df06e09d1744a5eac11eaef0db8528a61187faeb92").holding("d9fdc55acf124ab2a011720fa264e15ba19941db64452bf1dd0826d0331b9194"),
            DataFile::public("PEMS04_strg_published.csv", 395083, "d9fdc55acf124ab2a011720fa264e15ba19941db64452bf1dd0826d0331b9194", "https://raw.githubusercontent.com/SYLan2019/DSTAGNN/d9b7f1f10db4707e20255166e5d3cea0f0696a5b/data/PEMS04/strg_001_PEMS04.csv"),
        ],
        alternatives: &[
            Alternative { converted: &["PEMS03_stag_from_similarity.csv.gz"], original: &["PEMS03_stag_from_similarity.csv"], is_complete: true },
            Alternative { converted: &["PEMS03_strg_from_similarity.csv.gz"], original: &["PEMS03_strg_from_similarity.csv"], is_complete: true },
            Alternative { converted: &["PEMS04_stag_from_similarity.csv.gz"], original: &["PEMS04_stag_from_similarity.csv"], is_complete: true },
            Alternative { converted: &["PEMS04_strg_from_similarity.csv.gz"], original: &["PEMS04_strg_from_similarity.csv"], is_complete: true },
            Alternative { converted: &["PEMS04_stag_published.csv.gz"], original: &["PEMS04_stag_published.csv"], is_complete: true },
            Alternative { converted: &["PEMS04_strg_published.csv.gz"], original: &["PEMS04_strg_published.csv"], is_complete: true },
        ],
        licence: "None stated",
        citation: "Lan et al., DSTAGNN, ICML 2022; Song et al., STSGCN, AAAI 2020; Guo et al., ASTGCN, AAAI 2019; Jakhmola et al., IEEE Access 2024",
        homepage: "https://pems.dot.ca.gov",
        parser: "datasets::table::parse_numeric",
        preparation: "",
    },
    DataSet {
        name: "pems-flow",
        title: "Traffic flow, occupancy and speed of PEMS03, 04, 07 and 08, five-minute steps",
        files: &[
            DataFile::git("PEMS03.npz", "b4487154fc9611a3bf9856b0aad34efa610ea8ae", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS03/PEMS03.npz"),
            DataFile::git("PEMS04.npz", "a1a39eac4b86963b1ac22874fd1cc693eb642cd2", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS04/PEMS04.npz"),
            DataFile::git("PEMS07.npz", "28c547f80eb8804d3e378168c80f77f82db2680a", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS07/PEMS07.npz"),
            DataFile::git("PEMS08.npz", "f5f3e84a00417573aa8487fe1e9e8cd13c6026c8", "https://raw.githubusercontent.com/guoshnBJTU/ASTGNN/9c2e19b98c4cedf1f35214d8789685b6381b3aad/data/PEMS08/PEMS08.npz"),
        ],
        alternatives: &[
        ],
        licence: "None stated; measurements of the Caltrans Performance Measurement System",
        citation: "Song et al., STSGCN, AAAI 2020; Guo et al., ASTGCN, AAAI 2019",
        homepage: "https://pems.dot.ca.gov",
        parser: "datasets::npz::Archive",
        preparation: "",
    },
    DataSet {
        name: "morse-adding",
        title: "The fixed test set of the Morse adding problem: 1000 items",
        files: &[
            DataFile::stored("test_items.json", 24257, "97a4b2fc76decbd9122261f80cb4c9857aa600712236cd25c43e692e502796dd"),
        ],
        alternatives: &[
        ],
        licence: "Free for non-commercial use",
        citation: "Jacques, Tiganj, Sarkar, Howard, Sederberg, A deep convolutional neural network that is invariant to time rescaling, ICML 2022",
        homepage: "https://github.com/compmem/SITHCon",
        parser: "datasets::morse::load",
        preparation: "Decode experiments/MorseAdding/generated_adding_morse.npy of https://github.com/compmem/SITHCon at commit 48c9607: per item the ten digits as a string and the two marked positions, as JSON {items: [[digits, [first, second]], ...]}.",
    },
];
