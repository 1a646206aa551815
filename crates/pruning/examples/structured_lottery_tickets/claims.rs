//! What the paper claims, and how we judge it.

use experiment::{Claim, Judge, Paper, Published, Scale};

const ALL: &[Scale] = &[Scale::Smoke, Scale::Laptop, Scale::Paper];
const REAL: &[Scale] = &[Scale::Laptop, Scale::Paper];

const fn points(id: &'static str, statement: &'static str, bound: f64) -> Claim {
    Claim::new(id, statement, Judge::AtLeast(bound), "points", REAL)
}

const fn control(id: &'static str, statement: &'static str) -> Claim {
    Claim::new(id, statement, Judge::ReportOnly, "points", REAL)
}

const fn saved(id: &'static str, statement: &'static str) -> Claim {
    Claim::new(id, statement, Judge::ReportOnly, "%", REAL)
}

const fn winning(id: &'static str, statement: &'static str) -> Claim {
    Claim::new(id, statement, Judge::AtLeast(0.0), "points", &[])
}

const fn time_saved(id: &'static str, statement: &'static str, judge: Judge, published: Option<Published>) -> Claim {
    Claim { id, statement, published, judge, unit: "%", scales: REAL }
}

pub(crate) static PAPER: Paper = Paper {
    slug: "structured-lottery-tickets",
    title: "Coarsening the Granularity: Towards Structurally Sparse Lottery Tickets",
    authors: "Tianlong Chen, Xuxi Chen, Xiaolong Ma, Yanzhi Wang, Zhangyang Wang",
    venue: "ICML 2022",
    url: "https://arxiv.org/abs/2202.04736",
    claims: &[
        Claim::new(
            "partition-recovers",
            "Partitions of planted hypergraphs: sum of (parts touched - 1) over that of the planted groups, worst of 5 seeds",
            Judge::AtMost(1.05),
            "ratio",
            ALL,
        ),
        Claim::new(
            "blocks-equal-masked",
            "A block-sparse layer computes what the masked dense one does: largest difference in f32",
            Judge::AtMost(1e-4),
            "",
            ALL,
        ),
        Claim::new(
            "blocks-beat-gemm",
            "256 x 2304 in 8 blocks of 32 x 1280 times 2304 x 1024: time of our dense product over that of the blocks (least possible work: 1.8)",
            Judge::AtLeast(1.4),
            "ratio",
            ALL,
        ),
        Claim::new(
            "blocks-against-winograd",
            "A layer of 256 x 2304 in 8 dense blocks as a 3 x 3 convolution of 16 images of 8 x 8: time of our dense convolution (Winograd) over that of the blocks",
            Judge::ReportOnly,
            "ratio",
            ALL,
        ),
        Claim::new(
            "csr-loses",
            "256 x 2304 with 44 % scattered zeros: time of our dense product over that of compressed rows",
            Judge::AtMost(1.0),
            "ratio",
            ALL,
        ),
        Claim::new(
            "imp-keeps-accuracy",
            "Generated images: accuracy of a ticket of two rounds (36 % sparse) minus dense",
            Judge::AtLeast(-2.0),
            "points",
            ALL,
        ),
        saved(
            "convolutions-36",
            "Time of the convolutions of ResNet-18 (32 x 32) that dense blocks save at 36 % sparsity, the faster form for each layer",
        ),
        saved(
            "convolutions-58",
            "Time of the convolutions of ResNet-18 (32 x 32) that dense blocks save at 58 % sparsity, the faster form for each layer",
        ),
        saved(
            "convolutions-74",
            "Time of the convolutions of ResNet-18 (32 x 32) that dense blocks save at 74 % sparsity, the faster form for each layer",
        ),
        points("imp-2", "MNIST 14 x 14, round 2 (36 % sparse): scattered ticket minus dense, mean of 5 seeds", -0.3),
        points("imp-4", "MNIST 14 x 14, round 4 (59 % sparse): scattered ticket minus dense", -0.3),
        points("imp-6", "MNIST 14 x 14, round 6 (74 % sparse): scattered ticket minus dense", -0.3),
        points("imp-8", "MNIST 14 x 14, round 8 (83 % sparse): scattered ticket minus dense", -0.3),
        points("regroup-dense-6", "MNIST 14 x 14, round 6: Regroup minus dense", -1.2),
        points("regroup-refill-6", "MNIST 14 x 14, round 6: Regroup minus Refill", 0.3),
        points("regroup-refill-8", "MNIST 14 x 14, round 8: Regroup minus Refill", 0.8),
        points("refill-plus-6", "MNIST 14 x 14, round 6: Refill+ minus Refill", 0.0),
        points("refill-plus-8", "MNIST 14 x 14, round 8: Refill+ minus Refill", 0.0),
        points("imp-random-6", "MNIST 14 x 14, round 6: scattered ticket minus random mask of its density", 0.5),
        points(
            "equal-density",
            "MNIST 14 x 14: Regroup at round 6 minus Refill+ at round 8, of about one density",
            0.2,
        ),
        control(
            "dense-longer",
            "MNIST 14 x 14: the dense network trained from the rewinding step, as tickets are, minus dense",
        ),
        control(
            "random-blocks-4",
            "MNIST 14 x 14, round 4: Regroup minus blocks of the same shapes with random rows and columns",
        ),
        control(
            "random-blocks-6",
            "MNIST 14 x 14, round 6: Regroup minus blocks of the same shapes with random rows and columns",
        ),
        control(
            "random-blocks-8",
            "MNIST 14 x 14, round 8: Regroup minus blocks of the same shapes with random rows and columns",
        ),
        control(
            "permuted-6",
            "MNIST 14 x 14, round 6: scattered ticket minus the same mask permuted within each layer",
        ),
        control(
            "one-shot-6",
            "MNIST 14 x 14, round 6: scattered ticket minus one-shot magnitude pruning of the trained network (OMP)",
        ),
        control("snip-6", "MNIST 14 x 14, round 6: scattered ticket minus SNIP"),
        control("grasp-6", "MNIST 14 x 14, round 6: scattered ticket minus GraSP"),
        control("synflow-6", "MNIST 14 x 14, round 6: scattered ticket minus SynFlow"),
        control("slimming-6", "MNIST 14 x 14, round 6: scattered ticket minus network slimming at its density"),
        control(
            "small-dense-refill-6",
            "MNIST 14 x 14, round 6: Refill minus a narrower dense network with as many multiplications as the scattered ticket",
        ),
        control(
            "small-dense-regroup-6",
            "MNIST 14 x 14, round 6: Regroup minus a narrower dense network with as many multiplications as the scattered ticket",
        ),
        control(
            "cifar-imp-4",
            "CIFAR-10 (4,000 images, quarter-width ResNet-18), round 4: scattered ticket minus dense",
        ),
        control("cifar-refill-4", "CIFAR-10 (4,000 images, quarter-width ResNet-18), round 4: Refill minus dense"),
        control(
            "cifar-refill-plus-4",
            "CIFAR-10 (4,000 images, quarter-width ResNet-18), round 4: Refill+ minus dense",
        ),
        control("cifar-regroup-4", "CIFAR-10 (4,000 images, quarter-width ResNet-18), round 4: Regroup minus dense"),
        winning(
            "winning-36",
            "A structural ticket of CIFAR-10 or CIFAR-100 at 36 % sparsity is as accurate as the dense network (the paper's training; not run)",
        ),
        winning(
            "winning-74",
            "A structural ticket of Tiny-ImageNet at 74 % sparsity is as accurate as the dense network (the paper's training; not run)",
        ),
        winning(
            "winning-58",
            "A structural ticket of ImageNet at 58 % sparsity is as accurate as the dense network (the paper's training; not run)",
        ),
        Claim::new(
            "compact-equals-masked",
            "Compiled networks of ResNet-18's shape compute what the masked ones do: largest difference over the largest output in f32",
            Judge::AtMost(1e-4),
            "",
            ALL,
        ),
        Claim::new(
            "half-channels",
            "ResNet-18 (32 x 32, 64 images) without half of each layer's channels: time of the compiled dense network over its own (least possible work: 2.7)",
            Judge::AtLeast(2.0),
            "ratio",
            ALL,
        ),
        time_saved(
            "time-saved-36",
            "Time of the compiled ResNet-18 (32 x 32, 64 images) that dense blocks save at 36 % sparsity of each layer",
            Judge::AtLeast(-3.0),
            None,
        ),
        time_saved(
            "time-saved-58",
            "Time of the compiled ResNet-18 that dense blocks save at 58 % sparsity of each layer",
            Judge::AtLeast(25.0),
            Some(Published {
                value: 60.23,
                spread: None,
                source: "published (abstract): up to, convolutions of ImageNet's networks on a GPU",
            }),
        ),
        time_saved(
            "time-saved-74",
            "Time of the compiled ResNet-18 that dense blocks save at 74 % sparsity of each layer",
            Judge::AtLeast(50.0),
            Some(Published {
                value: 64.84,
                spread: None,
                source: "published (abstract): up to, convolutions of Tiny-ImageNet's networks on a GPU",
            }),
        ),
        time_saved(
            "time-saved-80",
            "Time of the compiled ResNet-18 that dense blocks save at 80 % sparsity of each layer",
            Judge::ReportOnly,
            Some(Published {
                value: 64.93,
                spread: None,
                source: "published (abstract): up to, at 36 to 80 %, convolutions of CIFAR's networks on a GPU",
            }),
        ),
        Claim::new(
            "channels-58",
            "ResNet-18 without 58 % of each layer's channels: time of the compiled dense network over its own",
            Judge::ReportOnly,
            "ratio",
            REAL,
        ),
        Claim::new(
            "channels-74",
            "ResNet-18 without 74 % of each layer's channels: time of the compiled dense network over its own",
            Judge::ReportOnly,
            "ratio",
            REAL,
        ),
    ],
};
