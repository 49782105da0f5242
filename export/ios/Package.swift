// swift-tools-version:5.9
// What needs no iPhone: `swift test` checks it on a Mac or on Linux.
import PackageDescription

let package = Package(
    name: "EganSample",
    targets: [
        .target(
            name: "EganSample", path: "EganSample",
            exclude: [
                "CameraView.swift", "EganModel.swift", "EganSampleApp.swift",
                "UIImage+Pixels.swift",
            ]),
        .testTarget(
            name: "EganSampleTests", dependencies: ["EganSample"], path: "EganSampleTests",
            exclude: ["GoldenTests.swift"],
            resources: [.copy("pixel_vectors.txt"), .copy("egan_example.json")]),
    ]
)
