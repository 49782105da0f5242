import Foundation

/// What `egan.json` says about the model beside it; unknown keys are ignored.
struct Contract: Decodable, Equatable {
    struct File: Decodable, Equatable {
        let name: String
        let sha256: String
    }

    struct Input: Decodable, Equatable {
        let name: String
        let dtype: String
        /// Number of images (nil if any), height, width, channels.
        let shape: [Int?]
    }

    struct Classes: Decodable, Equatable {
        let majority: [String]
        let minority: [String]
    }

    struct GoldenImage: Decodable, Equatable {
        let file: String
        let score: Float
        let is_minority: Int
    }

    struct Golden: Decodable, Equatable {
        let tolerance: Float
        let images: [GoldenImage]
    }

    let format: String
    let format_version: Int
    let file: File
    let input: Input
    let classes: Classes
    let golden: Golden

    let height: Int
    let width: Int

    private enum CodingKeys: CodingKey {
        case format, format_version, file, input, classes, golden
    }

    init(from decoder: Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        format = try values.decode(String.self, forKey: .format)
        format_version = try values.decode(Int.self, forKey: .format_version)
        guard format == "egan-keras", format_version == 1 else {
            throw EganError(
                "The JSON is not this sample's contract: expected format egan-keras, "
                    + "format_version 1. Received: format=\(format), "
                    + "format_version=\(format_version). "
                    + "Take the JSON that was exported with the model.")
        }
        file = try values.decode(File.self, forKey: .file)
        input = try values.decode(Input.self, forKey: .input)
        classes = try values.decode(Classes.self, forKey: .classes)
        golden = try values.decode(Golden.self, forKey: .golden)
        guard ["uint8", "float32"].contains(input.dtype) else {
            throw EganError(
                "The model's input type must be uint8 or float32. "
                    + "Received: dtype=\(input.dtype)")
        }
        guard input.shape.first == 1 else {
            throw EganError(
                "The model must take one image at a time. Received: shape=\(input.shape). "
                    + "Export it with --batch-size 1, the default.")
        }
        guard input.shape.count == 4, let height = input.shape[1], let width = input.shape[2]
        else {
            throw EganError(
                "The model's input must have the shape (images, height, width, 3), height "
                    + "and width fixed. Received: shape=\(input.shape)")
        }
        self.height = height
        self.width = width
    }

    static let copy =
        "Copy the .tflite, the .json and the golden folder of one export into the folder "
        + "Model and build again."

    /// Reads a JSON, and the model that it names and that lies beside it.
    ///
    /// Nothing of iOS is used here, so that `swift test` checks it on any machine.
    static func load(_ json: URL) throws -> (contract: Contract, model: URL, bytes: Data) {
        let contract = try decoded(json)
        let model = json.deletingLastPathComponent().appendingPathComponent(contract.file.name)
        return (contract, model, try contents(of: model))
    }

    private static func decoded(_ json: URL) throws -> Contract {
        do {
            return try JSONDecoder().decode(Contract.self, from: contents(of: json))
        } catch let error as DecodingError {
            throw EganError(
                "\(json.lastPathComponent) is not whole, or not an export's: "
                    + "\(error.localizedDescription) \(copy)")
        }
    }

    private static func contents(of file: URL) throws -> Data {
        do {
            return try Data(contentsOf: file, options: .mappedIfSafe)
        } catch {
            throw EganError("The app has no Model/\(file.lastPathComponent). \(copy)")
        }
    }
}

/// An error that says in one sentence what was wrong and what to do.
struct EganError: LocalizedError, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }

    var errorDescription: String? { description }
}
