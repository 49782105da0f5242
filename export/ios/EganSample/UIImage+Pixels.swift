import UIKit

extension UIImage {
    /// The EXIF code (1...8) of this image's orientation.
    var exifOrientation: Int {
        switch imageOrientation {
        case .up: return 1
        case .upMirrored: return 2
        case .down: return 3
        case .downMirrored: return 4
        case .leftMirrored: return 5
        case .right: return 6
        case .rightMirrored: return 7
        case .left: return 8
        @unknown default: return 1
        }
    }

    /// The stored pixels, not yet turned upright; transparent ones are laid on white.
    func pixels() throws -> Pixels {
        guard let image = cgImage else {
            throw EganError("The image has no pixels of its own. Pass one made from a CGImage.")
        }
        // The image's own colour space: the model learned from stored values, which are
        // converted to sRGB neither by Python nor here.
        var space = CGColorSpace(name: CGColorSpace.sRGB)!
        if let own = image.colorSpace, own.model == .rgb, own.supportsOutput { space = own }
        var rgba = [UInt8](repeating: 0, count: 4 * image.width * image.height)
        try rgba.withUnsafeMutableBytes { buffer in
            guard
                let context = CGContext(
                    data: buffer.baseAddress, width: image.width, height: image.height,
                    bitsPerComponent: 8, bytesPerRow: 4 * image.width, space: space,
                    bitmapInfo: CGImageAlphaInfo.premultipliedLast.rawValue)
            else {
                throw EganError(
                    "The image cannot be drawn into 8-bit RGB. Received: \(space)")
            }
            let whole = CGRect(x: 0, y: 0, width: image.width, height: image.height)
            context.setFillColor(red: 1, green: 1, blue: 1, alpha: 1)
            context.fill(whole)
            context.draw(image, in: whole)
        }
        return Pixels(rgba: rgba, width: image.width, height: image.height)
    }
}
