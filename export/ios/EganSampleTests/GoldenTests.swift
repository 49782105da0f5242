import UIKit
import XCTest

@testable import EganSample

/// On the phone, the model must answer as it did in Python when it was exported.
final class GoldenTests: XCTestCase {
    func testGoldenImagesScoreAsInPython() async throws {
        let model = try EganModel()
        let golden = model.contract.golden
        XCTAssertFalse(golden.images.isEmpty, "The JSON lists no golden images")
        let folder = try XCTUnwrap(Bundle.main.resourceURL).appendingPathComponent("Model")
        for expected in golden.images {
            let path = folder.appendingPathComponent(expected.file).path
            let image = try XCTUnwrap(UIImage(contentsOfFile: path), expected.file)
            let decision = try await model.score(image)
            XCTAssertEqual(
                decision.score, expected.score, accuracy: golden.tolerance, expected.file)
            XCTAssertEqual(decision.isMinority, expected.is_minority == 1, expected.file)
        }
    }
}
