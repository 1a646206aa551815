//! Image data sets and labels of images.

use super::data_set::{Alternative, Checksum, DataFile, DataSet};

// One file per line, however long: the lines are read as a table.
#[rustfmt::skip]
pub(super) const SETS: &[DataSet] = &[
    DataSet {
        name: "mnist",
        title: "MNIST: 70,000 handwritten digits, 28 x 28, 10 classes",
        files: &[
            DataFile::stored("train-images-idx3-ubyte.gz", 9719438, "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971").holding("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db").at("http://yann.lecun.com/exdb/mnist/train-images-idx3-ubyte.gz"),
            DataFile::stored("train-images-idx3-ubyte", 47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            DataFile::stored("train-labels-idx1-ubyte.gz", 28857, "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203").holding("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5").at("http://yann.lecun.com/exdb/mnist/train-labels-idx1-ubyte.gz"),
            DataFile::stored("train-labels-idx1-ubyte", 60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            DataFile::stored("t10k-images-idx3-ubyte.gz", 1616508, "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be").holding("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7").at("http://yann.lecun.com/exdb/mnist/t10k-images-idx3-ubyte.gz"),
            DataFile::stored("t10k-images-idx3-ubyte", 7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            DataFile::stored("t10k-labels-idx1-ubyte.gz", 4517, "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b").holding("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2").at("http://yann.lecun.com/exdb/mnist/t10k-labels-idx1-ubyte.gz"),
            DataFile::stored("t10k-labels-idx1-ubyte", 10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ],
        alternatives: &[
            Alternative { converted: &["train-images-idx3-ubyte"], original: &["train-images-idx3-ubyte.gz"], is_complete: true },
            Alternative { converted: &["train-labels-idx1-ubyte"], original: &["train-labels-idx1-ubyte.gz"], is_complete: true },
            Alternative { converted: &["t10k-images-idx3-ubyte"], original: &["t10k-images-idx3-ubyte.gz"], is_complete: true },
            Alternative { converted: &["t10k-labels-idx1-ubyte"], original: &["t10k-labels-idx1-ubyte.gz"], is_complete: true },
        ],
        licence: "Commonly distributed as CC BY-SA 3.0 (Yann LeCun, Corinna Cortes)",
        citation: "LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998",
        homepage: "http://yann.lecun.com/exdb/mnist/",
        parser: "datasets::images::load_mnist",
        preparation: "Every site that offers the four original .gz files will do: their decompressed content is what is checked. As PNG files they are in https://github.com/rasbt/mnist-pngs.",
    },
    DataSet {
        name: "fashion-mnist",
        title: "Fashion-MNIST: 70,000 articles of clothing, 28 x 28, 10 classes",
        files: &[
            DataFile::git("train-images-idx3-ubyte.gz", "e6ee0e37929b03937517cd45e65f4e8ca9de720d", "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/train-images-idx3-ubyte.gz"),
            DataFile::public("train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/train-labels-idx1-ubyte.gz"),
            DataFile::git("t10k-images-idx3-ubyte.gz", "667844f10bb92ae415eddb04e718f3e702547007", "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/t10k-images-idx3-ubyte.gz"),
            DataFile::public("t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/t10k-labels-idx1-ubyte.gz"),
        ],
        alternatives: &[
        ],
        licence: "MIT",
        citation: "Xiao, Rasul, Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, arXiv:1708.07747, 2017",
        homepage: "https://github.com/zalandoresearch/fashion-mnist",
        parser: "datasets::images::load_mnist",
        preparation: "",
    },
    DataSet {
        name: "cifar-10n",
        title: "CIFAR-10N: human labels of the 50,000 training images",
        files: &[
            DataFile::stored("aggre_label.npy", 50128, "4e335bcab3997788367dc511b23b77007c0b9fb802f2d1515a52ac7b69526aa7"),
            DataFile::stored("clean_label.npy", 50128, "fad921ba16b0efeebb54393d1351545d1fe1a357f6f81324c821e3e11b956c70"),
            DataFile::stored("random_label1.npy", 50128, "5bc0fd0514fa6857954c874a33f0aff4d108671c45b06c5cceb94a5c178518da"),
            DataFile::stored("random_label2.npy", 50128, "64ce98c1d0f42c89763ee225e999cf0ec22a0dedf8ca9eddf44bf7d6a2a5167f"),
            DataFile::stored("random_label3.npy", 50128, "78120c1492b026aee9543dc2908307fd5b4374f2cabb2f6fedc65d34d819cbc6"),
            DataFile::stored("worse_label.npy", 50128, "9929b1356a3315ae0db7ddcf722685369c387eb58ed3f5f12bc50962cff4364e"),
            DataFile::public("side_info_cifar10N.csv", 170902, "50fcbe619a003d0b804a20ece51447dcdb48978c60e1202371d08302b2e14351", "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/49df7d8a69e355470c77c1c2f2424916325a394b/side_info_cifar10N.csv"),
        ],
        alternatives: &[
        ],
        licence: "CC BY-NC 4.0",
        citation: "Wei, Zhu, Cheng, Liu, Niu, Liu, Learning with Noisy Labels Revisited, ICLR 2022",
        homepage: "https://github.com/UCSC-REAL/cifar-10-100n",
        parser: "datasets::human_labels::load_cifar_10n",
        preparation: "The labels are the arrays of data/CIFAR-10_human.pt in https://github.com/UCSC-REAL/cifar-10-100n at commit 49df7d8a69e355470c77c1c2f2424916325a394b (a PyTorch file, a dictionary of arrays): save each as NumPy .npy with element type uint8 under its key: aggre_label, clean_label, random_label1, random_label2, random_label3, worse_label.",
    },
    DataSet {
        name: "cifar-100n",
        title: "CIFAR-100N: human labels of the 50,000 training images",
        files: &[
            DataFile::stored("clean_coarse_label.npy", 50128, "ca4628d5cbc8c985ad2afd0c97105715c1f150fe42446fe961e27be2def58513"),
            DataFile::stored("clean_label.npy", 50128, "6034b309a18a5e30fd2b2e7c72d0d3f215eceff0c8090e65c0475e6a263572c5"),
            DataFile::stored("noisy_coarse_label.npy", 50128, "293363a91d366280103884ab98491284e9888ff313c5d7b8711893ed36e9ca3e"),
            DataFile::stored("noisy_label.npy", 50128, "409894ab6bb543433840180b2f346d5ff31d66b45d3f2f790dd0adf90e5091d1"),
            DataFile::public("side_info_cifar100N.csv", 207844, "22b9ca66e25a9c0663ddc415ea3a5b9063f30d434d802ccbd0f0bf3d532d19a9", "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/49df7d8a69e355470c77c1c2f2424916325a394b/side_info_cifar100N.csv"),
        ],
        alternatives: &[
        ],
        licence: "CC BY-NC 4.0",
        citation: "Wei, Zhu, Cheng, Liu, Niu, Liu, Learning with Noisy Labels Revisited, ICLR 2022",
        homepage: "https://github.com/UCSC-REAL/cifar-10-100n",
        parser: "datasets::human_labels::load_cifar_100n",
        preparation: "The labels are the arrays of data/CIFAR-100_human.pt in https://github.com/UCSC-REAL/cifar-10-100n at commit 49df7d8a69e355470c77c1c2f2424916325a394b (a PyTorch file, a dictionary of arrays): save each as NumPy .npy with element type uint8 under its key: clean_coarse_label, clean_label, noisy_coarse_label, noisy_label.",
    },
    DataSet {
        name: "cifar-10h",
        title: "CIFAR-10H: human soft labels of the 10,000 test images",
        files: &[
            DataFile::public("cifar10h-counts.npy", 800128, "9b36b4550349af56c79083356312eb4af856cc5fd3caf1f669d40b9d0bbb69ff", "https://raw.githubusercontent.com/jcpeterson/cifar-10h/48da312b193b82e6939ec20f23d1f09cbdd849c8/data/cifar10h-counts.npy"),
            DataFile::public("cifar10h-probs.npy", 800128, "436ae98620e00073f9d08585ac870573b588853e7af9f54eb1647408114af77d", "https://raw.githubusercontent.com/jcpeterson/cifar-10h/48da312b193b82e6939ec20f23d1f09cbdd849c8/data/cifar10h-probs.npy"),
        ],
        alternatives: &[
        ],
        licence: "CC BY-NC-SA 4.0",
        citation: "Peterson, Battleday, Griffiths, Russakovsky, Human uncertainty makes classification more robust, ICCV 2019",
        homepage: "https://github.com/jcpeterson/cifar-10h",
        parser: "datasets::npy::read",
        preparation: "",
    },
    DataSet {
        name: "cifar-10",
        title: "CIFAR-10: 60,000 images, 32 x 32 x 3, 10 classes",
        files: &[
            DataFile::stored("train-first-4000-lossless.bin.gz", 11316918, "0bb145d179ecb2a750190e62493390eeb7162bf39f48bbe8e48630dd27a8a1ba").holding("0993cf8b8e43bc207603aef9787006995746513f5e3fa5a52e06d1b069926330"),
            DataFile::stored("train-jpeg.tar.gz", 16084051, "75de0916568c426617a97d0d69647a2716573c8539024c49adf9f4e8a2981097"),
            DataFile::stored("test-jpeg.tar.gz", 3191136, "dfb81c145bd46f3bb6b8331f9c729edabd9e91896e3094d9a791f85daa00698b"),
            DataFile { name: "cifar-10-binary.tar.gz", url: Some("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"), checksum: Checksum::Md5("c32a1d4ab5d03f1284b67883e8d87530"), contents_sha256: None, bytes: None },
        ],
        alternatives: &[
            Alternative { converted: &["train-first-4000-lossless.bin.gz", "train-jpeg.tar.gz", "test-jpeg.tar.gz"], original: &["cifar-10-binary.tar.gz"], is_complete: false },
        ],
        licence: "None stated; free for research with citation",
        citation: "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto, 2009",
        homepage: "https://www.cs.toronto.edu/~kriz/cifar.html",
        parser: "datasets::images::load_cifar_10",
        preparation: "",
    },
    DataSet {
        name: "cifar-100",
        title: "CIFAR-100: 60,000 images, 32 x 32 x 3, 100 classes",
        files: &[
            DataFile::public("cifar-100-binary.tar.gz", 168513733, "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"),
        ],
        alternatives: &[],
        licence: "None stated; free for research with citation",
        citation: "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto, 2009",
        homepage: "https://www.cs.toronto.edu/~kriz/cifar.html",
        parser: "datasets::images::load_cifar_100",
        preparation: "",
    },
    DataSet {
        name: "yale-b",
        title: "Extended Yale B, cropped, reduced to 40 x 35: 2414 faces, 38 subjects",
        files: &[
            DataFile::stored("extended-yale-b-cropped-40x35.safetensors.gz", 2812314, "cd25754d56953fd9db122ea90c93261d4b7245109e424368c80580bedf078cf1").holding("4884a32ef593c4e7670c818db0c6537c1f6c427b292f9c7d727bb68646144a53"),
            DataFile::stored("names.txt.gz", 5934, "780e8d385d456eef0d5fa415a8ff1cefed167369bb7ed114f68196eff901a8de").holding("6a15ecc985666e8085ae881e1395eb5f3ed090ba7a4593fc1c3ebf877acf1bd3"),
        ],
        alternatives: &[
        ],
        licence: "Free for research with citation of both papers; no commercial redistribution",
        citation: "Lee, Ho, Kriegman, Acquiring Linear Subspaces for Face Recognition under Variable Lighting, IEEE TPAMI 27(5), 2005; Georghiades, Belhumeur, Kriegman, From Few to Many, IEEE TPAMI 23(6), 2001",
        homepage: "http://vision.ucsd.edu/~leekc/ExtYaleDatabase/ExtYaleB.html",
        parser: "datasets::images::load_yale_faces",
        preparation: "Take the 192 x 168 PGM files of folder CroppedYale/ in https://github.com/Uranium2/recognition at commit 55008b5f2ab707eb7ae4464daa727d30b858d488 whose names lack Ambient, sort them by folder and name, resize each to width 35 and height 40 with an antialiased Lanczos filter (support 3), and store u8 tensors `images` [2414, 40, 35] and `labels` [2414] (subject number minus 1, minus 2 from subject 15 on) as safetensors, compressed with gzip.",
    },
];
