import CryptoKit
import Foundation
import TensorFlowLite
import UIKit

/// The model's answer for one image: a high score is majority, a low one minority.
struct Decision: Equatable {
    let score: Float
    let isMinority: Bool
}

/// The exported model: an image in, a decision out.
///
/// The threshold, the resize to the network and the normalisation are inside the model.
/// It is handed the pixels 0...255 as they are. An actor, because an interpreter serves
/// one caller at a time.
actor EganModel {
    nonisolated let contract: Contract

    private let runner: SignatureRunner

    /// Loads the model that a JSON describes and that lies beside it.
    init(json: URL) throws {
        contract = try JSONDecoder().decode(Contract.self, from: Data(contentsOf: json))
        let model = json.deletingLastPathComponent().appendingPathComponent(contract.file.name)
        let bytes = try Data(contentsOf: model, options: .mappedIfSafe)
        let sha256 = SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
        guard sha256 == contract.file.sha256 else {
            throw EganError(
                "The model file is not the one that \(json.lastPathComponent) describes: "
                    + "expected the SHA-256 \(contract.file.sha256). "
                    + "Received: \(contract.file.name) with \(sha256). "
                    + "Copy the .tflite, the .json and the golden folder from one export.")
        }
        var options = Interpreter.Options()
        options.threadCount = 2
        let interpreter = try Interpreter(modelPath: model.path, options: options)
        runner = try interpreter.signatureRunner(with: "serving_default")
    }

    /// Loads `egan.json` from the folder `Model` of the app's bundle.
    init(bundle: Bundle = .main) throws {
        guard
            let json = bundle.url(
                forResource: "egan", withExtension: "json", subdirectory: "Model")
        else {
            throw EganError(
                "The app has no Model/egan.json. Copy egan.tflite, egan.json and egan_golden "
                    + "into the folder Model and build again.")
        }
        try self.init(json: json)
    }

    /// Scores an image of any size; its orientation is applied.
    func score(_ image: UIImage) throws -> Decision {
        let upright = try image.pixels().upright(orientation: image.exifOrientation)
        let rgb = upright.stretchedToRGB(width: contract.width, height: contract.height)
        try runner.invoke(with: [contract.input.name: input(rgb)])
        return Decision(
            score: try output("score"),
            isMinority: try output("is_minority") == 1)
    }

    private func input(_ rgb: [UInt8]) -> Data {
        if contract.input.dtype == "uint8" { return Data(rgb) }
        return rgb.map(Float32.init).withUnsafeBytes { Data($0) }
    }

    private func output(_ name: String) throws -> Float {
        try runner.output(named: name).data.withUnsafeBytes {
            $0.loadUnaligned(as: Float32.self)
        }
    }
}
