import Foundation

/// Pixels with four bytes each, red first, row by row; the fourth byte is not read.
///
/// Nothing of iOS is used here, so that `swift test` checks it on any machine.
struct Pixels: Equatable {
    let rgba: [UInt8]
    let width: Int
    let height: Int

    init(rgba: [UInt8], width: Int, height: Int) {
        precondition(
            width > 0 && height > 0 && rgba.count == 4 * width * height,
            "The pixels do not fit the size: expected 4 * width * height bytes. "
                + "Received: \(rgba.count) bytes, width=\(width), height=\(height)")
        self.rgba = rgba
        self.width = width
        self.height = height
    }

    /// Takes a camera's frame: blue first, each row followed by bytes that are none of it.
    init(bgra: UnsafeRawBufferPointer, width: Int, height: Int, bytesPerRow: Int) {
        var rgba = [UInt8](repeating: 255, count: 4 * width * height)
        for y in 0..<height {
            for x in 0..<width {
                let from = y * bytesPerRow + 4 * x
                let to = 4 * (y * width + x)
                for channel in 0..<3 { rgba[to + channel] = bgra[from + 2 - channel] }
            }
        }
        self.init(rgba: rgba, width: width, height: height)
    }

    /// Turns the image as its EXIF orientation (1...8) tells, without touching a value.
    func upright(orientation: Int) -> Pixels {
        precondition(
            (1...8).contains(orientation),
            "The EXIF orientation must be 1 to 8. Received: orientation=\(orientation)")
        let isTurned = orientation >= 5
        let isMirrored = [2, 3, 7, 8].contains(orientation)
        let isFlipped = [3, 4, 6, 7].contains(orientation)
        let newWidth = isTurned ? height : width
        let newHeight = isTurned ? width : height
        var turned = [UInt8](repeating: 0, count: rgba.count)
        for newY in 0..<newHeight {
            for newX in 0..<newWidth {
                var x = isTurned ? newY : newX
                var y = isTurned ? newX : newY
                if isMirrored { x = width - 1 - x }
                if isFlipped { y = height - 1 - y }
                let from = 4 * (y * width + x)
                let to = 4 * (newY * newWidth + newX)
                for byte in 0..<4 { turned[to + byte] = rgba[from + byte] }
            }
        }
        return Pixels(rgba: turned, width: newWidth, height: newHeight)
    }

    /// Stretches the image to the model's size; the aspect ratio is not kept.
    ///
    /// Core Graphics and UIKit interpolate in ways of their own. This is the antialiased
    /// bilinear resize of Pillow 12, in its fixed-point arithmetic, and gives the same
    /// bytes. (Pillow 13 swaps the two passes where the height shrinks much more than the
    /// width; a byte may then differ by 1.)
    ///
    /// - Returns: RGB bytes 0...255 (height, width, 3), row by row.
    func stretchedToRGB(width newWidth: Int, height newHeight: Int) -> [UInt8] {
        precondition(
            newWidth > 0 && newHeight > 0,
            "The new size must be positive. Received: width=\(newWidth), height=\(newHeight)")
        let narrow = resizedRows(to: newWidth)
        return Pixels.resizedColumns(narrow, width: newWidth, height: height, to: newHeight)
    }

    private func resizedRows(to newWidth: Int) -> [UInt8] {
        let weights = Weights(size: width, newSize: newWidth)
        var rgb = [UInt8](repeating: 0, count: 3 * newWidth * height)
        rgba.withUnsafeBufferPointer { source in
            for y in 0..<height {
                for x in 0..<newWidth {
                    let first = 4 * (y * width + weights.first[x])
                    for channel in 0..<3 {
                        var sum = Weights.half
                        for (index, weight) in weights.values[x].enumerated() {
                            sum += weight * Int(source[first + 4 * index + channel])
                        }
                        rgb[3 * (y * newWidth + x) + channel] = Weights.byte(sum)
                    }
                }
            }
        }
        return rgb
    }

    private static func resizedColumns(
        _ source: [UInt8], width: Int, height: Int, to newHeight: Int
    ) -> [UInt8] {
        let weights = Weights(size: height, newSize: newHeight)
        let stride = 3 * width
        var rgb = [UInt8](repeating: 0, count: stride * newHeight)
        for y in 0..<newHeight {
            let first = stride * weights.first[y]
            for column in 0..<stride {
                var sum = Weights.half
                for (index, weight) in weights.values[y].enumerated() {
                    sum += weight * Int(source[first + stride * index + column])
                }
                rgb[stride * y + column] = Weights.byte(sum)
            }
        }
        return rgb
    }
}

/// For each new pixel, the first old pixel that is read and the fixed-point weights.
private struct Weights {
    static let precisionBits = 32 - 8 - 2
    static let half = 1 << (precisionBits - 1)

    private(set) var first: [Int] = []
    private(set) var values: [[Int]] = []

    init(size: Int, newSize: Int) {
        let scale = Double(size) / Double(newSize)
        let support = max(scale, 1)
        for index in 0..<newSize {
            let center = (Double(index) + 0.5) * scale
            let start = max(Int(center - support + 0.5), 0)
            let end = min(Int(center + support + 0.5), size)
            let triangle = (start..<end).map { position in
                max(1 - abs((Double(position) - center + 0.5) * (1 / support)), 0)
            }
            let total = triangle.reduce(0, +)
            first.append(start)
            values.append(
                triangle.map { Int(0.5 + $0 / total * Double(1 << Weights.precisionBits)) })
        }
    }

    static func byte(_ sum: Int) -> UInt8 {
        UInt8(min(max(sum >> precisionBits, 0), 255))
    }
}
