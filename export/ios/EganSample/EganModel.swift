import CryptoKit
import Foundation
import LiteRT
import UIKit

/// The model's answer for one image: a high score is majority, a low one minority.
struct Decision: Equatable {
    let score: Float
    let isMinority: Bool
}

/// The exported model: an image in, a decision out.
///
/// The threshold, the resize to the network and the normalisation are inside the model.
/// It is handed the pixels 0...255 as they are. An actor, because its buffers serve one
/// caller at a time. A caller whose task was cancelled gets a `CancellationError`.
actor EganModel {
    nonisolated let contract: Contract

    private let model: CompiledModel
    private let inputs: [TensorBuffer]
    private let outputs: [TensorBuffer]

    /// Loads the model that a JSON describes and that lies beside it.
    init(json: URL) throws {
        let (contract, model, bytes) = try Contract.load(json)
        let sha256 = SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
        guard sha256 == contract.file.sha256 else {
            throw EganError(
                "The model file is not the one that \(json.lastPathComponent) describes: "
                    + "expected the SHA-256 \(contract.file.sha256). "
                    + "Received: \(contract.file.name) with \(sha256). \(Contract.copy)")
        }
        let cpu = try CpuOptions()
        try cpu.setNumThreads(2)
        let options = try Options()
        // The processor, whose scores were compared with Python's.
        try options.setHardwareAccelerators([.cpu])
        try options.addConcreteOptions(cpu)
        self.contract = contract
        self.model = try CompiledModel(
            filePath: model.path, environment: Environment(), options: options)
        inputs = try self.model.createInputBuffers()
        outputs = try self.model.createOutputBuffers()
    }

    /// Loads `egan.json` from the folder `Model` of the app's bundle.
    init(bundle: Bundle = .main) throws {
        let resources = bundle.resourceURL ?? bundle.bundleURL
        try self.init(json: resources.appendingPathComponent("Model/egan.json"))
    }

    /// Scores an image of any size; its orientation is applied.
    func score(_ image: UIImage) throws -> Decision {
        try Task.checkCancellation()
        let pixels = try image.pixels()
        try Task.checkCancellation()
        return try score(pixels.upright(orientation: image.exifOrientation))
    }

    /// Scores upright pixels of any size.
    func score(_ pixels: Pixels) throws -> Decision {
        try Task.checkCancellation()
        let rgb = pixels.stretchedToRGB(width: contract.width, height: contract.height)
        try Task.checkCancellation()
        if contract.input.dtype == "uint8" {
            try inputs[0].write(rgb)
        } else {
            try inputs[0].write(rgb.map(Float32.init))
        }
        try model.run(inputs: inputs, outputs: outputs)
        return Decision(
            score: try output("score"),
            isMinority: try output("is_minority") == 1)
    }

    /// Reads an output by its name; their order is the file's.
    private func output(_ name: String) throws -> Float {
        let index = try outputs.indices.first { try model.outputName(outputIndex: $0) == name }
        guard let index, let value = (try outputs[index].read() as [Float]).first else {
            throw EganError("The model has no output \(name). Export it with egan_keras.")
        }
        return value
    }
}
