import Foundation

/// The bundle with the files beside these tests, in Xcode and in `swift test`.
#if SWIFT_PACKAGE
    let testResources = Bundle.module
#else
    let testResources = Bundle(for: PixelsTests.self)
#endif
