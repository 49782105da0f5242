import Foundation
import XCTest

@testable import EganSample

/// `egan_example.json` is a contract as `egan-keras export` writes it.
final class ContractTests: XCTestCase {
    private func text() throws -> String {
        let url = try XCTUnwrap(
            testResources.url(forResource: "egan_example", withExtension: "json"))
        return try String(contentsOf: url, encoding: .utf8)
    }

    func testTheContractIsRead() throws {
        let contract = try JSONDecoder().decode(Contract.self, from: Data(text().utf8))
        XCTAssertEqual(contract.file.name, "egan.tflite")
        XCTAssertEqual(contract.file.sha256.count, 64)
        XCTAssertEqual(contract.input.name, "images")
        XCTAssertEqual(contract.input.dtype, "uint8")
        XCTAssertEqual([contract.height, contract.width], [48, 32])
        XCTAssertEqual(contract.classes.majority, ["good"])
        XCTAssertEqual(contract.classes.minority, ["scratched", "dented"])
        XCTAssertEqual(contract.golden.tolerance, 0.25)
        XCTAssertEqual(contract.golden.images.map(\.score), [1.5, -3.25])
        XCTAssertEqual(contract.golden.images.map(\.is_minority), [0, 1])
    }

    func testAnotherVersionIsRefused() throws {
        let other = try text().replacingOccurrences(
            of: "\"format_version\": 1", with: "\"format_version\": 2")
        XCTAssertThrowsError(
            try JSONDecoder().decode(Contract.self, from: Data(other.utf8))
        ) { error in
            XCTAssertTrue("\(error)".contains("format_version=2"), "\(error)")
        }
    }

    func testAModelForManyImagesIsRefused() throws {
        let other = try text().replacingOccurrences(of: "[1, 48, 32, 3]", with: "[null, 48, 32, 3]")
        XCTAssertThrowsError(
            try JSONDecoder().decode(Contract.self, from: Data(other.utf8))
        ) { error in
            XCTAssertTrue("\(error)".contains("--batch-size 1"), "\(error)")
        }
    }

    func testAMissingOrBrokenFileIsTold() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let json = folder.appendingPathComponent("egan.json")
        func told() -> String {
            var message = ""
            XCTAssertThrowsError(try Contract.load(json)) { message = $0.localizedDescription }
            XCTAssertTrue(message.hasSuffix("into the folder Model and build again."), message)
            return message
        }
        XCTAssertTrue(told().hasPrefix("The app has no Model/egan.json."))
        try Data(text().utf8).write(to: json)
        XCTAssertTrue(told().hasPrefix("The app has no Model/egan.tflite."))
        try Data(text().utf8.prefix(99)).write(to: json)
        XCTAssertTrue(told().hasPrefix("egan.json is not whole, or not an export's: "))
        try Data(text().utf8).write(to: json)
        try Data("a model".utf8).write(to: folder.appendingPathComponent("egan.tflite"))
        XCTAssertEqual(try Contract.load(json).bytes, Data("a model".utf8))
    }
}
