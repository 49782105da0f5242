import Foundation
import XCTest

@testable import EganSample

/// The pixels must be those of Python, byte for byte; the vectors were made by Pillow.
final class PixelsTests: XCTestCase {
    private struct Vector {
        let kind: String
        let source: Pixels
        let width: Int
        let height: Int
        let rgb: [UInt8]
    }

    private func vectors(_ kind: String) throws -> [Vector] {
        let url = try XCTUnwrap(
            testResources.url(forResource: "pixel_vectors", withExtension: "txt"))
        let lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n")
        return lines.filter { $0.hasPrefix(kind) }.map { line in
            let words = line.split(separator: " ").map(String.init)
            let size = words[1...4].map { Int($0)! }
            return Vector(
                kind: words[0],
                source: Pixels(rgba: bytes(words[5]), width: size[0], height: size[1]),
                width: size[2], height: size[3], rgb: bytes(words[6]))
        }
    }

    private func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = Array(hexadecimal)
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(String(digits[$0...$0 + 1]), radix: 16)!
        }
    }

    func testStretchedPixelsEqualPillows() throws {
        let vectors = try vectors("stretch")
        XCTAssertGreaterThanOrEqual(vectors.count, 8)
        for vector in vectors {
            let rgb = vector.source.stretchedToRGB(width: vector.width, height: vector.height)
            XCTAssertEqual(rgb, vector.rgb, "\(vector.width) x \(vector.height)")
        }
    }

    func testEveryExifOrientationIsTurnedUpright() throws {
        let vectors = try vectors("turn")
        XCTAssertEqual(vectors.map(\.kind), (1...8).map { "turn\($0)" })
        for (index, vector) in vectors.enumerated() {
            let upright = vector.source.upright(orientation: index + 1)
            XCTAssertEqual([upright.width, upright.height], [vector.width, vector.height])
            let rgb = upright.stretchedToRGB(width: vector.width, height: vector.height)
            XCTAssertEqual(rgb, vector.rgb, vector.kind)
        }
    }

    func testACamerasFrameIsReadRedFirstWithoutTheEndsOfItsRows() {
        let frame: [UInt8] = [
            3, 2, 1, 255, 6, 5, 4, 255, 99, 99,
            9, 8, 7, 255, 12, 11, 10, 255, 99, 99,
        ]
        let pixels = frame.withUnsafeBytes {
            Pixels(bgra: $0, width: 2, height: 2, bytesPerRow: 10)
        }
        let rgba: [UInt8] = [1, 2, 3, 255, 4, 5, 6, 255, 7, 8, 9, 255, 10, 11, 12, 255]
        XCTAssertEqual(pixels, Pixels(rgba: rgba, width: 2, height: 2))
    }
}
