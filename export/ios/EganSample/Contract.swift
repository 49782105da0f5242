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
        guard input.shape.count == 4, let height = input.shape[1], let width = input.shape[2]
        else {
            throw EganError(
                "The model's input must have the shape (images, height, width, 3), height "
                    + "and width fixed. Received: shape=\(input.shape)")
        }
        self.height = height
        self.width = width
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
